// Calls of code that throws, from code that holds no interpreter, into which no exception may pass.
#ifndef WALLE_GUARDED_HPP
#define WALLE_GUARDED_HPP
#include <new>
#include <stdexcept>
#include <type_traits>
#include "walle/stop.hpp"

namespace walle { namespace {

// What comes instead of a result where memory is short, and where the run is to stop.
constexpr int64_t kNoMemory = -2, kStopped = -3;

template <class Call>
inline int64_t guarded(Call call) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  } catch (const walle_stop_request&) {
    return kStopped;
  }
  return kNoMemory;
}

}}  // namespace walle::(anonymous)

// A function `to` that calls `from` so: its result if that is a number, 0 if it has none.
#define WALLE_GUARDED(to, from)                                                        \
  template <class... A> static inline int64_t to(A&&... a) {                           \
    return walle::guarded([&]() -> int64_t {                                           \
      if constexpr (std::is_void<decltype(from(a...))>::value) return from(a...), 0;   \
      else return from(a...);                                                          \
    });                                                                                \
  }
#endif
