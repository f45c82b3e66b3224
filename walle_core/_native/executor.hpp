// Runs a flat array of steps on a persistent thread pool. No allocation, no lock and no Python between steps.
#ifndef WALLE_EXECUTOR_HPP
#define WALLE_EXECUTOR_HPP
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "walle/abi.h"
#include "walle/stop.hpp"

#if defined(__x86_64__)
#define WALLE_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define WALLE_PAUSE() asm volatile("yield")
#else
#define WALLE_PAUSE() ((void)0)
#endif

namespace walle {

struct Step {
  walle_kernel_fn fn;
  void* const* buf;
  const int64_t* arg;
  int64_t work;   // units
  int64_t chunk;  // units per claim; work <= chunk runs on the calling thread alone
};

inline int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t(t.tv_sec) * 1000000000 + t.tv_nsec;
}

// A job is cut into chunks, and every thread owns the same share of each job's chunks, so that the values of one step lie
// in the caches of the core that needs them in the next; who has finished its share takes from the end of another's.
//
// A share is one word: epoch << 32 | front << 16 | back, changed by compare-and-swap. A late worker cannot claim from a
// finished job, because the epoch has moved on, so a job's fields stay unchanged while any claim can succeed. Whoever
// first meets a share of an older epoch opens it; a job ends only after all its shares were opened.
class Pool {
 public:
  static constexpr int64_t kMaxChunks = 0xffff;  // of one step

  static Pool& instance() {
    static std::mutex guard;
    static Pool* pool = nullptr;
    std::lock_guard<std::mutex> hold(guard);
    if (!pool || pool->pid_ != getpid()) pool = new Pool();  // after fork() the threads of the parent are gone
    return *pool;
  }

  bool acquire(int threads) {
    if (!owner_.try_lock()) return false;
    while (workers_ < threads - 1 && workers_ < kMaxWorkers) {
      int index = ++workers_;
      if (!start(index, epoch_.load())) {  // fewer threads are slower, not wrong
        --workers_;
        break;
      }
    }
    // A share that no job used for 2^32 jobs could carry the epoch of the next one.
    const uint64_t empty = uint64_t(epoch_.load(std::memory_order_relaxed)) << 32;
    for (int t = 0; t < threads && t <= kMaxWorkers; ++t) shares_[t].word.store(empty, std::memory_order_relaxed);
    wanted_.store(threads - 1, std::memory_order_relaxed);
    active_.store(true);
    if (sleepers_.load()) {
      { std::lock_guard<std::mutex> hold(sleep_); }
      wake_.notify_all();
    }
    return true;
  }

  void release() {
    active_.store(false, std::memory_order_release);
    owner_.unlock();
  }

  void run(const Step& step, int threads, const walle_stop* stop) {
    const uint32_t epoch = epoch_.load(std::memory_order_relaxed) + 1;
    Job& job = jobs_[epoch & 1];
    job.step = &step;
    job.stop = stop;
    job.chunks = uint32_t((step.work + step.chunk - 1) / step.chunk);
    job.threads = threads <= kMaxWorkers ? threads : kMaxWorkers + 1;
    job.done.store(0, std::memory_order_relaxed);
    epoch_.store(epoch, std::memory_order_release);
    const uint32_t mine = drain(epoch, 0);
    if (mine) job.done.fetch_add(mine, std::memory_order_acq_rel);
    for (int spins = 0; job.done.load(std::memory_order_acquire) < job.chunks;) {
      WALLE_PAUSE();
      if (++spins > 4096) sched_yield();
    }
  }

  int workers() const { return workers_; }

 private:
  struct Start {
    Pool* pool;
    int index;
    uint32_t epoch;
  };

  static void* enter(void* given) {
    Start start = *static_cast<Start*>(given);
    free(given);
    start.pool->loop(start.index, start.epoch);
    return nullptr;
  }

  // pthread_create rather than std::thread, whose templates would be exported from the module.
  bool start(int index, uint32_t epoch) {
    Start* given = static_cast<Start*>(malloc(sizeof(Start)));
    pthread_t thread;
    if (!given) return false;
    *given = Start{this, index, epoch};
    if (pthread_create(&thread, nullptr, enter, given)) {
      free(given);
      return false;
    }
    pthread_detach(thread);
    return true;
  }

  static constexpr int kMaxWorkers = 63;
  static constexpr int kSpins = 2048;            // pauses before a waiting worker offers its core to others
  static constexpr int64_t kLinger = 100 * 1000;  // ns after a run before a worker sleeps: waking it takes as long
  struct alignas(64) Job {
    const Step* step;
    const walle_stop* stop;
    uint32_t chunks;
    int threads;
    alignas(64) std::atomic<uint32_t> done{0};
  };
  struct alignas(64) Share {
    std::atomic<uint64_t> word{0};
  };

  // The chunks of `epoch` that `thread` gets done: its own from the front, then the others' from the back.
  uint32_t drain(uint32_t epoch, int thread) {
    Job& job = jobs_[epoch & 1];
    const Step* const step = job.step;
    const walle_stop* const stop = job.stop;
    const uint32_t chunks = job.chunks;
    const int threads = job.threads;
    uint32_t did = 0;
    if (thread >= threads) return did;
    for (int i = 0; i < threads; ++i) {
      const int owner = thread + i < threads ? thread + i : thread + i - threads;
      const uint32_t first = uint32_t(uint64_t(chunks) * owner / threads);
      const uint32_t last = uint32_t(uint64_t(chunks) * (owner + 1) / threads);
      std::atomic<uint64_t>& word = shares_[owner].word;
      uint64_t now = word.load(std::memory_order_acquire);
      for (;;) {
        const bool opened = uint32_t(now >> 32) == epoch;
        if (!opened && int32_t(uint32_t(now >> 32) - epoch) > 0) return did;  // the job is over
        uint32_t front = opened ? uint32_t(now >> 16) & 0xffff : 0;
        uint32_t back = opened ? uint32_t(now) & 0xffff : last - first;
        if (front == back && opened) break;
        uint32_t chunk = first;
        if (front < back) chunk += i ? --back : front++;
        const bool empty = first == last;
        if (!word.compare_exchange_weak(now, uint64_t(epoch) << 32 | front << 16 | back, std::memory_order_acq_rel))
          continue;
        if (empty) break;
        const int64_t begin = int64_t(chunk) * step->chunk, end = begin + step->chunk;
        walle_call call = {step->buf, step->arg, begin, end < step->work ? end : step->work, thread, threads};
        if (!walle_stopped(stop)) step->fn(&call);  // else claimed and left undone, so that the job ends
        ++did;
        now = word.load(std::memory_order_acquire);
      }
    }
    return did;
  }

  void loop(int index, uint32_t seen) {
    int idle = 0;
    int64_t since = 0;
    for (;;) {
      const uint32_t epoch = epoch_.load(std::memory_order_acquire);
      const bool wanted = index <= wanted_.load(std::memory_order_relaxed);
      if (epoch != seen && wanted) {
        seen = epoch;
        const uint32_t did = drain(epoch, index);
        if (did) jobs_[epoch & 1].done.fetch_add(did, std::memory_order_acq_rel);
        idle = 0;
        continue;
      }
      WALLE_PAUSE();
      if (++idle > kSpins) sched_yield();
      if (active_.load(std::memory_order_acquire) && wanted) {
        since = 0;
      } else if (idle % 64 == 0) {
        const int64_t now = now_ns();
        if (!since) since = now;
        if (now - since > kLinger) {
          sleep(index);
          idle = 0;
          since = 0;
        }
      }
    }
  }

  void sleep(int index) {
    std::unique_lock<std::mutex> hold(sleep_);
    sleepers_.fetch_add(1);  // before the last look at active_: acquire() looks at both in the other order
    wake_.wait(hold, [&] { return active_.load() && index <= wanted_.load(); });
    sleepers_.fetch_sub(1);
  }

  pid_t pid_ = getpid();
  std::mutex owner_, sleep_;
  std::condition_variable wake_;
  std::atomic<bool> active_{false};
  std::atomic<int> wanted_{0}, sleepers_{0};
  int workers_ = 0;
  alignas(64) std::atomic<uint32_t> epoch_{0};
  Job jobs_[2];
  Share shares_[kMaxWorkers + 1];
};

constexpr int64_t kPieceNs = 5 * 1000 * 1000;  // between two looks at whether the run is to stop

// One step on the calling thread alone. A run that can be stopped is cut into pieces of some 5 ms; how many units these are is
// found in the step's first run and kept in `piece` (0: not known).
inline void alone(const Step& step, const walle_stop* stop, int64_t* piece) {
  int64_t begin = 0, size = step.work;
  const auto advance = [&](int64_t units) {
    const int64_t end = units < step.work - begin ? begin + units : step.work;
    walle_call call = {step.buf, step.arg, begin, end, 0, 1};
    step.fn(&call);
    begin = end;
  };
  if (stop && *piece) {
    size = *piece;
  } else if (stop && step.work > 1) {
    const int64_t start = now_ns();
    advance((step.work + 63) / 64);
    const int64_t each = (now_ns() - start) / begin;
    if (each > 0 && kPieceNs / each < step.work) size = kPieceNs / each > 0 ? kPieceNs / each : 1;
    *piece = size;
  }
  while (begin < step.work && !walle_stopped(stop)) advance(size);
}

// `times`, if given, receives the nanoseconds of each step. When another run holds the pool, this one does all
// chunks itself: it never waits for a competitor. A run of which `stop` tells so ends early.
inline void execute(const Step* steps, int64_t count, int threads, bool parallel, int64_t* times, const walle_stop* stop,
                    int64_t* pieces) {
  bool shared = parallel && threads > 1 && Pool::instance().acquire(threads);
  for (int64_t i = 0; i < count && !walle_stopped(stop); ++i) {
    const Step& step = steps[i];
    int64_t start = times ? now_ns() : 0;
    if (shared && step.work > step.chunk) {
      Pool::instance().run(step, threads, stop);
    } else if (step.work > 0) {
      alone(step, stop, pieces + i);
    }
    if (times) times[i] = now_ns() - start;
  }
  if (shared) Pool::instance().release();
}

}  // namespace walle
#endif
