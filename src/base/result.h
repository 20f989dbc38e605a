// Errors of the core: a compact code and a value-or-code result.
//
// Owns: Errc, Result<T>. Does not own: errno (only client/, preload/ and kmod/ know it; see client/errno.h).
// A bad packet is not an error: it gets a drop reason (base/drop.h). Errc is for callers of our own interfaces.
#pragma once

#include <cstdint>
#include <new>
#include <utility>

#include "port/api/assert.h"

namespace ferry {

// Every reason for which a call into the core can fail. Values are stable: they cross the channel ABI and recordings.
enum class Errc : uint8_t {
  ok = 0,
  again,                // would block; try when the socket is ready (EAGAIN)
  invalid,              // an argument or the state does not allow it (EINVAL)
  no_memory,            // allocation failed (ENOMEM)
  no_buffers,           // a quota or a pool is exhausted (ENOBUFS)
  too_many,             // the table of sockets, ports or clients is full (ENFILE)
  address_in_use,       // EADDRINUSE
  address_not_available,  // not an address of ours, or no free port (EADDRNOTAVAIL)
  access,               // EACCES
  not_permitted,        // EPERM
  not_connected,        // ENOTCONN
  is_connected,         // EISCONN
  in_progress,          // EINPROGRESS
  already,              // EALREADY
  refused,              // ECONNREFUSED
  reset,                // ECONNRESET
  aborted,              // ECONNABORTED
  timed_out,            // ETIMEDOUT
  host_unreachable,     // EHOSTUNREACH
  net_unreachable,      // ENETUNREACH
  broken_pipe,          // EPIPE
  message_size,         // EMSGSIZE
  destination_required, // EDESTADDRREQ
  not_supported,        // EOPNOTSUPP
  no_protocol_option,   // ENOPROTOOPT
  protocol,             // EPROTO: the other side of an interface broke its contract
  bad_socket,           // no such socket (EBADF)
  malformed,            // bytes that do not parse
  version_mismatch,     // of a record, a recording or the channel ABI
};

// Short, stable English name of a code, for logs and tests ("address_in_use").
const char* errc_name(Errc e);

// A value of type T or an error code. Not default constructible; asserts on access to the wrong side.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : code_(Errc::ok) { new (&storage_) T(std::move(value)); }  // NOLINT: implicit by design
  Result(Errc code) : code_(code) { FERRY_ASSERT(code != Errc::ok); }         // NOLINT: implicit by design
  Result(Result&& other) noexcept : code_(other.code_) {
    if (ok()) new (&storage_) T(std::move(other.ref()));
  }
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;
  Result& operator=(Result&& other) noexcept {
    if (this != &other) {
      destroy();
      code_ = other.code_;
      if (ok()) new (&storage_) T(std::move(other.ref()));
    }
    return *this;
  }
  ~Result() { destroy(); }

  [[nodiscard]] bool ok() const { return code_ == Errc::ok; }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] Errc error() const { return code_; }

  T& operator*() & { return checked(); }
  T&& operator*() && { return std::move(checked()); }
  const T& operator*() const& { return const_cast<Result*>(this)->checked(); }
  T* operator->() { return &checked(); }
  const T* operator->() const { return &const_cast<Result*>(this)->checked(); }

 private:
  T& ref() { return *reinterpret_cast<T*>(&storage_); }
  T& checked() {
    FERRY_ASSERT(ok());
    return ref();
  }
  void destroy() {
    if (ok()) ref().~T();
  }
  alignas(T) unsigned char storage_[sizeof(T)];
  Errc code_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Errc code) : code_(code) {}  // NOLINT: implicit by design; Errc::ok is success
  [[nodiscard]] bool ok() const { return code_ == Errc::ok; }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] Errc error() const { return code_; }

 private:
  Errc code_ = Errc::ok;
};

using Status = Result<void>;

}  // namespace ferry

// Evaluates `expression` (a Result); on error returns its code from the enclosing function.
#define FERRY_TRY(expression)                                                       \
  do {                                                                              \
    if (auto ferry_try_result = (expression); !ferry_try_result) return ferry_try_result.error(); \
  } while (false)
