// Interposes the older interface to host names: gethostbyname(3), gethostbyaddr(3) and their _r and 2 forms, over resolver.h.
// Numeric text is answered as gethostbyname(3) says, without a look-up.
#include <errno.h>
#include <string.h>

#include "preload/real.h"
#include "preload/resolver.h"

namespace ferry::preload {
namespace {

constexpr size_t kStaticBuffer = 8192;

// Takes memory from the caller's buffer, aligned for pointers.
class Buffer {
 public:
  Buffer(char* at, size_t size) : at_(at), left_(size) {}
  void* take(size_t bytes) {
    size_t pad = (8 - reinterpret_cast<uintptr_t>(at_) % 8) % 8;
    if (left_ < pad + bytes) return nullptr;
    void* result = at_ + pad;
    at_ += pad + bytes;
    left_ -= pad + bytes;
    return result;
  }
  char* text(const std::string& s) {
    auto* copy = static_cast<char*>(take(s.size() + 1));
    if (copy != nullptr) memcpy(copy, s.c_str(), s.size() + 1);
    return copy;
  }

 private:
  char* at_;
  size_t left_;
};

int to_h_errno(int status) {
  switch (status) {
    case EAI_NONAME: return HOST_NOT_FOUND;
    case EAI_NODATA: return NO_DATA;
    case EAI_AGAIN: return TRY_AGAIN;
    default: return NO_RECOVERY;
  }
}

// Fills `host` from `answer` using the caller's buffer; false if it is too small.
bool fill(const HostAnswer& answer, const char* name, int family, Buffer buffer, hostent* host) {
  size_t width = family == AF_INET ? 4 : 16;
  auto** aliases = static_cast<char**>(buffer.take((answer.aliases.size() + 1) * sizeof(char*)));
  auto** list = static_cast<char**>(buffer.take((answer.addresses.size() + 1) * sizeof(char*)));
  if (aliases == nullptr || list == nullptr) return false;
  size_t n = 0;
  for (const std::string& alias : answer.aliases)
    if ((aliases[n++] = buffer.text(alias)) == nullptr) return false;
  aliases[n] = nullptr;
  n = 0;
  for (const HostAddress& a : answer.addresses) {
    if (a.family != family) continue;
    auto* copy = static_cast<char*>(buffer.take(width));
    if (copy == nullptr) return false;
    memcpy(copy, &a.v6, width);
    list[n++] = copy;
  }
  list[n] = nullptr;
  host->h_name = buffer.text(answer.canonical.empty() ? name : answer.canonical);
  host->h_aliases = aliases;
  host->h_addrtype = family;
  host->h_length = static_cast<int>(width);
  host->h_addr_list = list;
  return host->h_name != nullptr;
}

int finish(const HostAnswer& answer, const char* name, int family, hostent* host, char* memory, size_t size,
           hostent** result, int* h_error) {
  *result = nullptr;
  if (answer.status == 0 && answer.addresses.empty()) {
    *h_error = NO_DATA;
    return 0;
  }
  if (answer.status != 0) {
    *h_error = to_h_errno(answer.status);
    return 0;
  }
  if (!fill(answer, name, family, Buffer(memory, size), host)) {
    *h_error = NETDB_INTERNAL;
    return errno = ERANGE;
  }
  *h_error = NETDB_SUCCESS;
  *result = host;
  return 0;
}

int by_name(const char* name, int family, hostent* host, char* memory, size_t size, hostent** result, int* h_error) {
  if (family != AF_INET && family != AF_INET6) {
    *result = nullptr;
    *h_error = NETDB_INTERNAL;
    return errno = EAFNOSUPPORT;
  }
  HostAnswer answer;
  HostAddress address{family, {}};
  if (inet_pton(family, name, &address.v6) == 1 || (family == AF_INET && inet_aton(name, &address.v4) != 0))
    answer.addresses.push_back(address);
  else
    answer = resolve_name(name, family);
  return finish(answer, name, family, host, memory, size, result, h_error);
}

int by_address(const void* bytes, socklen_t length, int family, hostent* host, char* memory, size_t size, hostent** result,
               int* h_error) {
  if (!(family == AF_INET && length >= 4) && !(family == AF_INET6 && length >= 16)) {
    *result = nullptr;
    *h_error = NETDB_INTERNAL;
    return errno = EAFNOSUPPORT;
  }
  HostAnswer answer = resolve_address(bytes, length, family);
  if (answer.status == 0) {
    HostAddress address{family, {}};
    memcpy(&address.v6, bytes, family == AF_INET ? 4 : 16);
    answer.addresses.push_back(address);
  }
  return finish(answer, "", family, host, memory, size, result, h_error);
}

// The storage of the functions that are not re-entrant, as in libc one for all threads.
struct {
  hostent host;
  alignas(8) char memory[kStaticBuffer];
} g_static;

hostent* static_by_name(const char* name, int family) {
  hostent* result = nullptr;
  by_name(name, family, &g_static.host, g_static.memory, sizeof(g_static.memory), &result, &h_errno);
  return result;
}

}  // namespace

FERRY_EXPORT hostent* gethostbyname(const char* name) { return static_by_name(name, AF_INET); }
FERRY_EXPORT hostent* gethostbyname2(const char* name, int family) { return static_by_name(name, family); }

FERRY_EXPORT int gethostbyname_r(const char* name, hostent* host, char* memory, size_t size, hostent** result, int* h_error) {
  return by_name(name, AF_INET, host, memory, size, result, h_error);
}
FERRY_EXPORT int gethostbyname2_r(const char* name, int family, hostent* host, char* memory, size_t size, hostent** result,
                                  int* h_error) {
  return by_name(name, family, host, memory, size, result, h_error);
}

FERRY_EXPORT hostent* gethostbyaddr(const void* address, socklen_t length, int family) {
  hostent* result = nullptr;
  by_address(address, length, family, &g_static.host, g_static.memory, sizeof(g_static.memory), &result, &h_errno);
  return result;
}
FERRY_EXPORT int gethostbyaddr_r(const void* address, socklen_t length, int family, hostent* host, char* memory, size_t size,
                                 hostent** result, int* h_error) {
  return by_address(address, length, family, host, memory, size, result, h_error);
}

}  // namespace ferry::preload
