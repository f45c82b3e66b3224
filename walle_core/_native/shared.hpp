// Blocks of memory that several interpreters of a process have read from the same place, by key. Constants only.
#ifndef WALLE_SHARED_HPP
#define WALLE_SHARED_HPP
#include <map>
#include <mutex>
#include <string>

#include "storage.hpp"

namespace walle {

struct Shared {
  std::mutex mutex;
  std::map<std::string, walle_storage*> blocks;
  static Shared& instance() {
    static Shared one;
    return one;
  }
};

// The block of a key with one more reference, or null.
inline walle_storage* shared_find(const std::string& key) {
  Shared& all = Shared::instance();
  std::lock_guard<std::mutex> lock(all.mutex);
  auto found = all.blocks.find(key);
  if (found == all.blocks.end()) return nullptr;
  walle_storage_retain(found->second);
  return found->second;
}

// Keeps a block (if any), unless one of that key is there; lets those go that nobody else has. How many are kept.
inline size_t shared_keep(const std::string& key, walle_storage* block) {
  Shared& all = Shared::instance();
  std::lock_guard<std::mutex> lock(all.mutex);
  for (auto it = all.blocks.begin(); it != all.blocks.end();) {
    if (walle_storage_references(it->second) > 1) {
      ++it;
      continue;
    }
    walle_storage_release(it->second);
    it = all.blocks.erase(it);
  }
  if (block && all.blocks.emplace(key, block).second) walle_storage_retain(block);
  return all.blocks.size();
}

}  // namespace walle
#endif
