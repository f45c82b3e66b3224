// Runs thread groups: plain loops where no kernel waits, else one fiber per thread, with barriers that must be reached by all.
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <vector>

typedef unsigned int uint;

namespace shim {
struct Group {
  void** buffers;
  uint sizes[3];
  uint group[3];
};
typedef void (*Thread)(const Group&, uint);

namespace {
enum State { READY, WAITING, DONE };
struct Fiber {
  ucontext_t context;
  std::vector<char> stack;
  State state;
  int line;
  uint thread;
};
thread_local std::vector<Fiber> fibers;
thread_local ucontext_t scheduler;
thread_local Fiber* current;
thread_local Thread body;
thread_local const Group* group;
constexpr std::size_t STACK = 256 * 1024;

void begin() {
  body(*group, current->thread);
  current->state = DONE;
  swapcontext(&current->context, &scheduler);
}

// 0, or 1 with a message if some threads wait at a barrier that others have not reached
int run_fibers(uint count, const std::vector<uint>& order, char* message) {
  if (fibers.size() < count) fibers.resize(count);
  for (uint i = 0; i < count; ++i) {
    Fiber& f = fibers[i];
    f.stack.resize(STACK);
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.data();
    f.context.uc_stack.ss_size = STACK;
    f.context.uc_link = &scheduler;
    makecontext(&f.context, begin, 0);
    f.state = READY;
    f.thread = i;
  }
  for (;;) {
    for (uint i : order) {
      if (fibers[i].state != READY) continue;
      current = &fibers[i];
      swapcontext(&scheduler, &current->context);
    }
    uint waiting = 0, done = 0;
    int line = 0;
    bool same = true;
    for (uint i = 0; i < count; ++i) {
      if (fibers[i].state == DONE) {
        ++done;
        continue;
      }
      same = same && (waiting == 0 || fibers[i].line == line);
      line = fibers[i].line;
      ++waiting;
    }
    if (done == count) return 0;
    if (done != 0 || !same) {
      std::snprintf(message, 200, "%u threads wait at a barrier (line %d%s), %u have finished", waiting, line,
                    same ? "" : " and others", done);
      return 1;
    }
    for (uint i = 0; i < count; ++i) fibers[i].state = READY;
  }
}
}  // namespace

void barrier(int line) {
  current->state = WAITING;
  current->line = line;
  swapcontext(&current->context, &scheduler);
}

// Runs all groups, in order or (seed > 0) in a random one, of groups and of threads.
int run(Thread f, bool waits, void** buffers, const uint* groups, const uint* sizes, uint seed, char* message) {
  const uint count = sizes[0] * sizes[1] * sizes[2], all = groups[0] * groups[1] * groups[2];
  std::vector<uint> order(count), where(all);
  std::iota(order.begin(), order.end(), 0);
  std::iota(where.begin(), where.end(), 0);
  std::mt19937 random(seed);
  if (seed) std::shuffle(where.begin(), where.end(), random);
  body = f;
  for (uint at : where) {
    if (seed) std::shuffle(order.begin(), order.end(), random);
    const Group g = {buffers,
                     {sizes[0], sizes[1], sizes[2]},
                     {at % groups[0], at / groups[0] % groups[1], at / (groups[0] * groups[1])}};
    group = &g;
    if (!waits) {
      for (uint i : order) f(g, i);
    } else if (run_fibers(count, order, message)) {
      return 1;
    }
  }
  return 0;
}
}  // namespace shim
