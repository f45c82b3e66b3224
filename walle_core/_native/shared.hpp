// What the interpreters of a process have together: blocks of constants that several read from the same place, by key; and the
// handles that were given out for others to open.
#ifndef WALLE_SHARED_HPP
#define WALLE_SHARED_HPP
#include <map>
#include <mutex>
#include <string>
#include <unordered_set>

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

struct Handles {
  std::mutex mutex;
  std::unordered_multiset<uint64_t> open;
  static Handles& instance() {
    static Handles one;
    return one;
  }
};

// A handle may be opened once more.
inline void handle_give(uint64_t handle) {
  Handles& all = Handles::instance();
  std::lock_guard<std::mutex> lock(all.mutex);
  all.open.insert(handle);
}

// Opens one: the storage, or null for a number that is no handle, or was opened as often as it was given.
inline walle_storage* handle_take(uint64_t handle) {
  Handles& all = Handles::instance();
  std::lock_guard<std::mutex> lock(all.mutex);
  auto found = all.open.find(handle);
  if (found == all.open.end()) return nullptr;
  all.open.erase(found);
  return reinterpret_cast<walle_storage*>(handle);
}

}  // namespace walle
#endif
