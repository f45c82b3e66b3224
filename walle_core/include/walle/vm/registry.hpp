// Open files by name, for all interpreters of the process: what the host publishes, tasks find.
#ifndef WALLE_VM_REGISTRY_HPP
#define WALLE_VM_REGISTRY_HPP
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <string>

namespace walle_vm {

class Registry {
 public:
  static Registry& instance() {
    static Registry one;
    return one;
  }

  // Keeps a copy of a descriptor under a name, in the place of one that was there. 0, or -errno.
  int publish(const std::string& name, int fd) {
    const int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0) return -errno;
    std::lock_guard<std::mutex> lock(mutex_);
    auto [place, fresh] = files_.emplace(name, own);
    if (!fresh) {
      close(place->second);
      place->second = own;
    }
    return 0;
  }

  void withdraw(const std::string& name) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto found = files_.find(name);
    if (found == files_.end()) return;
    close(found->second);
    files_.erase(found);
  }

  // A descriptor of the caller's own, or -errno; -ENOENT if nothing has that name.
  int find(const std::string& name) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto found = files_.find(name);
    if (found == files_.end()) return -ENOENT;
    const int own = fcntl(found->second, F_DUPFD_CLOEXEC, 3);
    return own < 0 ? -errno : own;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, int> files_;
};

inline int publish(const std::string& name, int fd) { return Registry::instance().publish(name, fd); }
inline void withdraw(const std::string& name) { Registry::instance().withdraw(name); }
inline int published(const std::string& name) { return Registry::instance().find(name); }

}  // namespace walle_vm
#endif
