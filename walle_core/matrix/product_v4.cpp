// Packed products for x86-64 processors of level 4 (System V ABI supplement, "micro-architecture levels").
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#pragma GCC target("arch=x86-64-v4")
#pragma GCC optimize("fp-contract=fast")
#define WALLE_PRODUCT_LEVEL v4
#define WALLE_PRODUCT_BYTES 64
#define WALLE_PRODUCT_ROWS 12
#include "walle/matrix/packed_product.hpp"
WALLE_PRODUCT_EXPORT(walle_product_v4)
#endif
