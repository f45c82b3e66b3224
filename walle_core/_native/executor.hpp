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

// Jobs are claimed by compare-and-swap on one word (epoch << 32 | next chunk): a late worker cannot claim from a
// finished job, because the epoch has moved on, so a job's fields stay unchanged while any claim can succeed.
class Pool {
 public:
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
      uint32_t epoch = uint32_t(ticket_.load() >> 32);
      if (!start(index, epoch)) {  // fewer threads are slower, not wrong
        --workers_;
        break;
      }
    }
    wanted_.store(threads - 1, std::memory_order_relaxed);
    {
      std::lock_guard<std::mutex> hold(sleep_);
      active_.store(true, std::memory_order_release);
    }
    wake_.notify_all();
    return true;
  }

  void release() {
    active_.store(false, std::memory_order_release);
    owner_.unlock();
  }

  void run(const Step& step, int threads) {
    uint32_t epoch = uint32_t(ticket_.load(std::memory_order_relaxed) >> 32) + 1;
    Job& job = jobs_[epoch & 1];
    job.step = &step;
    job.chunks = uint32_t((step.work + step.chunk - 1) / step.chunk);
    job.threads = threads;
    job.done.store(0, std::memory_order_relaxed);
    ticket_.store(uint64_t(epoch) << 32, std::memory_order_release);
    uint32_t mine = drain(epoch, 0);
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
  struct Job {
    const Step* step;
    uint32_t chunks;
    int threads;
    std::atomic<uint32_t> done{0};
  };

  uint32_t drain(uint32_t epoch, int thread) {
    uint32_t did = 0;
    Job& job = jobs_[epoch & 1];
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    for (;;) {
      const Step* step = job.step;
      uint32_t chunks = job.chunks, next = uint32_t(ticket);
      int threads = job.threads;
      if (uint32_t(ticket >> 32) != epoch || next >= chunks || thread >= threads) return did;
      if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) continue;
      int64_t begin = int64_t(next) * step->chunk, end = begin + step->chunk;
      walle_call call = {step->buf, step->arg, begin, end < step->work ? end : step->work, thread, threads};
      step->fn(&call);
      ++did;
      ticket = ticket_.load(std::memory_order_acquire);
    }
  }

  void loop(int index, uint32_t seen) {
    for (int idle = 0;;) {
      uint64_t ticket = ticket_.load(std::memory_order_acquire);
      uint32_t epoch = uint32_t(ticket >> 32);
      if (epoch != seen && index <= wanted_.load(std::memory_order_relaxed)) {
        seen = epoch;
        uint32_t did = drain(epoch, index);
        if (did) jobs_[epoch & 1].done.fetch_add(did, std::memory_order_acq_rel);
        idle = 0;
      } else if (active_.load(std::memory_order_acquire) && index <= wanted_.load(std::memory_order_relaxed)) {
        WALLE_PAUSE();
        if (++idle > 2048) sched_yield();
      } else {
        std::unique_lock<std::mutex> hold(sleep_);
        wake_.wait(hold, [&] { return active_.load() && index <= wanted_.load(); });
        idle = 0;
      }
    }
  }

  pid_t pid_ = getpid();
  std::mutex owner_, sleep_;
  std::condition_variable wake_;
  std::atomic<uint64_t> ticket_{0};
  std::atomic<bool> active_{false};
  std::atomic<int> wanted_{0};
  Job jobs_[2];
  int workers_ = 0;
};

inline int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t(t.tv_sec) * 1000000000 + t.tv_nsec;
}

// `times`, if given, receives the nanoseconds of each step. When another run holds the pool, this one does all
// chunks itself: it never waits for a competitor.
inline void execute(const Step* steps, int64_t count, int threads, bool parallel, int64_t* times) {
  bool shared = parallel && threads > 1 && Pool::instance().acquire(threads);
  for (int64_t i = 0; i < count; ++i) {
    const Step& step = steps[i];
    int64_t start = times ? now_ns() : 0;
    if (shared && step.work > step.chunk) {
      Pool::instance().run(step, threads);
    } else if (step.work > 0) {
      walle_call call = {step.buf, step.arg, 0, step.work, 0, 1};
      step.fn(&call);
    }
    if (times) times[i] = now_ns() - start;
  }
  if (shared) Pool::instance().release();
}

}  // namespace walle
#endif
