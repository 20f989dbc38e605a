// A value, or one clear sentence saying why there is none: for set-up, whose errors people read. The data path uses base/result.h.
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace ferry::link {

template <typename T>
class [[nodiscard]] Outcome {
 public:
  Outcome(T value) : value_(std::move(value)) {}  // NOLINT: implicit by design
  static Outcome failure(std::string sentence) {
    Outcome o;
    o.error_ = std::move(sentence);
    return o;
  }

  [[nodiscard]] bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  // Empty when ok().
  const std::string& error() const { return error_; }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  Outcome() = default;
  std::optional<T> value_;
  std::string error_;
};

}  // namespace ferry::link
