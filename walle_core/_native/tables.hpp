// Kernel tables that one interpreter of the process has found, for all others, by key. The libraries that hold them are
// never unloaded, nor is what is kept here. No templates of std: their instances would be symbols that the module exports.
#ifndef WALLE_TABLES_HPP
#define WALLE_TABLES_HPP
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace walle {

struct Tables {
  Tables* next;
  std::size_t key_size, count;
  char* key;
  std::uintptr_t* addresses;
};

inline std::mutex& tables_mutex() {
  static std::mutex one;
  return one;
}

inline Tables*& tables_first() {
  static Tables* one = nullptr;
  return one;
}

// The newest entry under a key, or null. It stays as it is.
inline const Tables* tables_find(const char* key, std::size_t size) {
  std::lock_guard<std::mutex> lock(tables_mutex());
  for (const Tables* at = tables_first(); at; at = at->next)
    if (at->key_size == size && std::memcmp(at->key, key, size) == 0) return at;
  return nullptr;
}

// Room for the addresses of `count` tables, to be filled in and handed to `tables_keep`; null without memory.
inline Tables* tables_new(const char* key, std::size_t size, std::size_t count) {
  void* block = std::malloc(sizeof(Tables) + count * sizeof(std::uintptr_t) + size);
  if (!block) return nullptr;
  Tables* made = static_cast<Tables*>(block);
  made->next = nullptr;
  made->key_size = size;
  made->count = count;
  made->addresses = reinterpret_cast<std::uintptr_t*>(made + 1);
  made->key = reinterpret_cast<char*>(made->addresses + count);
  std::memcpy(made->key, key, size);
  return made;
}

inline void tables_keep(Tables* made) {
  std::lock_guard<std::mutex> lock(tables_mutex());
  made->next = tables_first();
  tables_first() = made;
}

}  // namespace walle
#endif
