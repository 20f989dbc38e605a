// Owns the use of c-ares (resolver.h): one c-ares channel per look-up, so that /etc/resolv.conf is always the present one and no
// descriptor or lock outlives the call (fork, threads). ares_getaddrinfo(3), ares_getsock(3).
#include "preload/resolver.h"

#include <ares.h>
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "client/mutex.h"
#include "preload/log.h"
#include "preload/poll.h"
#include "preload/real.h"

namespace ferry::preload {
namespace {

// c-ares' functions, loaded on first use. Calls that c-ares makes into libc reach libferry's functions as a program's would.
struct Ares {
  decltype(&ares_library_init) library_init;
  decltype(&ares_init) init;
  decltype(&ares_destroy) destroy;
  decltype(&ares_getaddrinfo) getaddrinfo;
  decltype(&ares_freeaddrinfo) freeaddrinfo;
  decltype(&ares_gethostbyaddr) gethostbyaddr;
  decltype(&ares_getsock) getsock;
  decltype(&ares_timeout) timeout;
  decltype(&ares_process_fd) process_fd;
  bool loaded = false;
};

constinit client::Mutex g_load_mutex;
Ares g_ares;
bool g_load_tried = false;

template <typename F>
bool find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

void load() {
  void* library = dlopen("libcares.so.2", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    FERRY_LOG_ERROR("host names cannot be looked up over Ferry: %s", dlerror());
    return;
  }
  Ares& a = g_ares;
  a.loaded = find(library, "ares_library_init", a.library_init) && find(library, "ares_init", a.init) &&
             find(library, "ares_destroy", a.destroy) && find(library, "ares_getaddrinfo", a.getaddrinfo) &&
             find(library, "ares_freeaddrinfo", a.freeaddrinfo) && find(library, "ares_gethostbyaddr", a.gethostbyaddr) &&
             find(library, "ares_getsock", a.getsock) && find(library, "ares_timeout", a.timeout) &&
             find(library, "ares_process_fd", a.process_fd) && a.library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS;
  if (!a.loaded) FERRY_LOG_ERROR("host names cannot be looked up over Ferry: libcares.so.2 is too old");
}

const Ares* ares() {
  g_load_mutex.lock();
  if (!g_load_tried) load();
  g_load_tried = true;
  g_load_mutex.unlock();
  return g_ares.loaded ? &g_ares : nullptr;
}

int to_eai(int status) {
  switch (status) {
    case ARES_SUCCESS: return 0;
    case ARES_ENODATA: return EAI_NODATA;
    case ARES_ENOTFOUND: case ARES_ENONAME: case ARES_EBADNAME: return EAI_NONAME;
    case ARES_ENOMEM: return EAI_MEMORY;
    case ARES_ETIMEOUT: case ARES_ECONNREFUSED: case ARES_ESERVFAIL: case ARES_EREFUSED: case ARES_EFILE: return EAI_AGAIN;
    default: return EAI_FAIL;
  }
}

// Runs c-ares until the query has been answered or has timed out.
void run(const Ares& a, ares_channel channel) {
  for (;;) {
    ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
    int wanted = a.getsock(channel, sockets, ARES_GETSOCK_MAXNUM);
    pollfd fds[ARES_GETSOCK_MAXNUM];
    nfds_t count = 0;
    for (int i = 0; i < ARES_GETSOCK_MAXNUM; ++i) {
      short events = 0;
      if (ARES_GETSOCK_READABLE(wanted, i)) events |= POLLIN;
      if (ARES_GETSOCK_WRITABLE(wanted, i)) events |= POLLOUT;
      if (events != 0) fds[count++] = {sockets[i], events, 0};
    }
    if (count == 0) return;
    timeval limit{};
    timeval most{5, 0};
    const timeval* wait = a.timeout(channel, &most, &limit);
    timespec timeout{wait->tv_sec, wait->tv_usec * 1000};
    if (poll_files(fds, count, &timeout, nullptr) <= 0) {
      a.process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
      continue;
    }
    for (nfds_t i = 0; i < count; ++i) {
      short ready = fds[i].revents;
      if (ready == 0) continue;
      bool in = (ready & (POLLIN | POLLERR | POLLHUP)) != 0;
      bool out = (ready & (POLLOUT | POLLERR | POLLHUP)) != 0;
      a.process_fd(channel, in ? fds[i].fd : ARES_SOCKET_BAD, out ? fds[i].fd : ARES_SOCKET_BAD);
    }
  }
}

struct Pending {
  const Ares* ares;
  HostAnswer answer;
};

void on_addresses(void* argument, int status, int, ares_addrinfo* info) {
  auto& pending = *static_cast<Pending*>(argument);
  pending.answer.status = to_eai(status);
  if (info == nullptr) return;
  if (info->name != nullptr) pending.answer.canonical = info->name;
  for (const ares_addrinfo_cname* c = info->cnames; c != nullptr; c = c->next) {
    if (c->name != nullptr) pending.answer.canonical = c->name;
    if (c->alias != nullptr) pending.answer.aliases.emplace_back(c->alias);
  }
  for (int family : {AF_INET, AF_INET6}) {
    for (const ares_addrinfo_node* n = info->nodes; n != nullptr; n = n->ai_next) {
      if (n->ai_family != family) continue;
      HostAddress address{family, {}};
      if (family == AF_INET) memcpy(&address.v4, &reinterpret_cast<const sockaddr_in*>(n->ai_addr)->sin_addr, 4);
      if (family == AF_INET6) memcpy(&address.v6, &reinterpret_cast<const sockaddr_in6*>(n->ai_addr)->sin6_addr, 16);
      pending.answer.addresses.push_back(address);
    }
  }
  pending.ares->freeaddrinfo(info);
}

void on_name(void* argument, int status, int, hostent* host) {
  auto& pending = *static_cast<Pending*>(argument);
  pending.answer.status = to_eai(status);
  if (host == nullptr) return;
  if (host->h_name != nullptr) pending.answer.canonical = host->h_name;
  for (char** alias = host->h_aliases; alias != nullptr && *alias != nullptr; ++alias)
    pending.answer.aliases.emplace_back(*alias);
}

template <typename Start>
HostAnswer query(Start start) {
  int saved_errno = errno;
  Pending pending{ares(), {}};
  pending.answer.status = EAI_FAIL;
  ares_channel channel = nullptr;
  if (pending.ares != nullptr && pending.ares->init(&channel) == ARES_SUCCESS) {
    start(*pending.ares, channel, pending);
    run(*pending.ares, channel);
    pending.ares->destroy(channel);
  }
  errno = saved_errno;
  return std::move(pending.answer);
}

}  // namespace

HostAnswer resolve_name(const char* name, int family) {
  return query([&](const Ares& a, ares_channel channel, Pending& pending) {
    ares_addrinfo_hints hints{};
    hints.ai_family = family;
    hints.ai_flags = ARES_AI_CANONNAME | ARES_AI_NOSORT;
    a.getaddrinfo(channel, name, nullptr, &hints, on_addresses, &pending);
  });
}

HostAnswer resolve_address(const void* address, socklen_t length, int family) {
  return query([&](const Ares& a, ares_channel channel, Pending& pending) {
    a.gethostbyaddr(channel, address, static_cast<int>(length), family, on_name, &pending);
  });
}

}  // namespace ferry::preload
