// Packed products for x86-64 processors of level 3 (System V ABI supplement, "micro-architecture levels").
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#pragma GCC target("arch=x86-64-v3")
#pragma GCC optimize("fp-contract=fast")
#define WALLE_PRODUCT_LEVEL v3
#define WALLE_PRODUCT_BYTES 32
#define WALLE_PRODUCT_ROWS 6
#include "walle/matrix/packed_product.hpp"
WALLE_PRODUCT_EXPORT(walle_product_v3)
#endif
