// How a thread's native loops learn that the run which they belong to is to stop. They look between blocks, and give up.
#ifndef WALLE_STOP_HPP
#define WALLE_STOP_HPP
#include <stdint.h>

// Of whoever starts runs on a thread. `run` numbers them, from 1 on; `asked` is the number of the last one that was told to stop.
typedef struct walle_stop {
  int64_t run, asked;
} walle_stop;

// Where the calling thread notes which runs it is in; null: nobody can stop them. One place for all compiled modules of the
// process: the module that defines Tensor has it, the others get this function from it when they are imported.
typedef const walle_stop** (*walle_stop_place_fn)(void);
static walle_stop_place_fn walle_stop_place = nullptr;

static inline bool walle_stopped(const walle_stop* stop) {
  return stop && __atomic_load_n(&stop->asked, __ATOMIC_RELAXED) == __atomic_load_n(&stop->run, __ATOMIC_RELAXED);
}
static inline const walle_stop* walle_stop_of_thread() { return walle_stop_place ? *walle_stop_place() : nullptr; }
static inline void walle_stop_connect(uint64_t function) { walle_stop_place = (walle_stop_place_fn)(uintptr_t)function; }

// Between two blocks of a loop that may last: leaves it if its run is to stop. Not to pass into code without exceptions.
struct walle_stop_request {};
static inline void walle_stop_point() {
  if (walle_stopped(walle_stop_of_thread())) throw walle_stop_request();
}

// The same for loops of small steps: looks at once, then again whenever some 2^18 elements have been worked on.
struct walle_stop_watch {
  const walle_stop* stop;
  int64_t left;
  explicit walle_stop_watch(const walle_stop* of = walle_stop_of_thread()) : stop(of), left(0) {}
  void work(int64_t elements) {
    if (!stop || (left -= elements) > 0) return;
    left = int64_t(1) << 18;
    if (walle_stopped(stop)) throw walle_stop_request();
  }
};

// body(begin, end) for pieces of 0..n.
template <class Body>
static inline void walle_in_pieces(int64_t n, Body body) {
  constexpr int64_t piece = int64_t(1) << 18;
  for (int64_t i = 0; i < n; i += piece) {
    walle_stop_point();
    body(i, n - i < piece ? n : i + piece);
  }
}
#endif
