// Kernel tables that one interpreter of the process has found, for all others, by key. The libraries that hold them are
// never unloaded.
#ifndef WALLE_TABLES_HPP
#define WALLE_TABLES_HPP
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace walle {

struct Tables {
  std::mutex mutex;
  std::map<std::string, std::vector<std::uintptr_t>> found;
  static Tables& instance() {
    static Tables one;
    return one;
  }
};

// Fills `out` with the addresses kept under a key; whether there is one.
inline bool tables_find(const std::string& key, std::vector<std::uintptr_t>& out) {
  Tables& all = Tables::instance();
  std::lock_guard<std::mutex> lock(all.mutex);
  auto found = all.found.find(key);
  if (found == all.found.end()) return false;
  out = found->second;
  return true;
}

inline void tables_keep(const std::string& key, const std::vector<std::uintptr_t>& tables) {
  Tables& all = Tables::instance();
  std::lock_guard<std::mutex> lock(all.mutex);
  all.found[key] = tables;
}

}  // namespace walle
#endif
