// The instances of the elementwise templates, apart from the module so that they are compiled once.
#include "walle/matrix/binary.hpp"
#include "walle/matrix/unary.hpp"

namespace walle { namespace matrix {

// Filled once, under the compiler's guard: a look-up is one load.
struct Tables {
  binary_row two[kBinaries][kCodes];
  unary_row one[kUnaries][kCodes], cast[kCodes][kCodes];
  Tables() {
    for (int c = 0; c < kCodes; ++c) {
      for (int op = 0; op < kBinaries; ++op) two[op][c] = find_binary_in(op, c);
      for (int op = 0; op < kUnaries; ++op) one[op][c] = find_unary_in(op, c);
      for (int to = 0; to < kCodes; ++to) cast[c][to] = find_cast_in(c, to);
    }
  }
};
static const Tables& tables() {
  static const Tables made;
  return made;
}
binary_row find_binary(int op, int code) { return tables().two[op][code]; }
unary_row find_unary(int op, int code) { return tables().one[op][code]; }
unary_row find_cast(int from, int to) { return tables().cast[from][to]; }

}}  // namespace walle::matrix
