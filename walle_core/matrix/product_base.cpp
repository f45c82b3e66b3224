// Packed products for any processor, with vectors of 16 bytes.
#define WALLE_PRODUCT_LEVEL base
#define WALLE_PRODUCT_BYTES 16
#define WALLE_PRODUCT_ROWS 4
#include "walle/matrix/packed_product.hpp"
WALLE_PRODUCT_EXPORT(walle_product_base)
