// Memory for the core. Allocation may fail, and callers must cope; tests make the n-th allocation fail, for all n.
#pragma once

#include <cstddef>
#include <new>
#include <utility>

namespace ferry::port {

// `size` bytes aligned to 16, or nullptr. Contents undefined.
[[nodiscard]] void* allocate(size_t size);
// Gives back what allocate() returned; nullptr is ignored.
void release(void* p);

}  // namespace ferry::port

namespace ferry {

// A new T, or nullptr without memory. The constructor must not fail. Destroy with destroy().
template <typename T, typename... Args>
[[nodiscard]] T* make(Args&&... args) {
  static_assert(alignof(T) <= 16);
  void* p = port::allocate(sizeof(T));
  return p == nullptr ? nullptr : new (p) T(std::forward<Args>(args)...);
}

template <typename T>
void destroy(T* p) {
  if (p == nullptr) return;
  p->~T();
  port::release(p);
}

// `count` value-initialised elements of a trivial type, or nullptr.
template <typename T>
[[nodiscard]] T* make_array(size_t count) {
  static_assert(__is_trivially_copyable(T) && alignof(T) <= 16);
  if (count > static_cast<size_t>(-1) / sizeof(T)) return nullptr;
  T* p = static_cast<T*>(port::allocate(count * sizeof(T)));
  for (size_t i = 0; p != nullptr && i < count; ++i) new (p + i) T();
  return p;
}

}  // namespace ferry
