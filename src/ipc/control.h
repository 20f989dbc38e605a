// Messages on the control socket between libferry (or the ferry command) and ferryd: AF_UNIX SOCK_SEQPACKET, one fixed-size
// Request answered by one fixed-size Reply in order, descriptors as SCM_RIGHTS. Everything that is not on the data path.
// Authority is that of each call: the server reads SCM_CREDENTIALS of the message (SO_PEERCRED is stale after set*id).
#pragma once

#include <cstdint>

namespace ferry::ipc::control {

inline constexpr uint32_t kVersion = 3;
inline constexpr uint32_t kMaxDescriptors = 16;  // SCM_RIGHTS per message
inline constexpr uint32_t kMaxData = 256;        // bytes of option values and text
inline constexpr uint32_t kNoPair = UINT32_MAX;  // instead of a pair's number
inline constexpr const char* kDefaultSocketPath = "/run/ferry/ferryd.sock";

enum class Op : uint32_t {
  hello = 1,      // value = abi::kVersion, flags: HelloFlag. Reply: fds {memfd, kick eventfd, lifeline}; data: ServerInfo.
                  // lifeline: read end of a pipe (one per client) whose write end only ferryd holds; its hang-up tells that
                  // ferryd is gone, or has dropped the client
  open_socket,    // kind in `value` (abi::SocketKind), flags: OpenFlag. Reply: slot; fd {K}, or value = number of a pair whose K the
                  // client keeps (kNoPair: fd)
  bind,           // slot, local
  listen,         // slot, value = backlog
  connect,        // slot, remote. Reply error in_progress: the outcome comes through the slot
  accept,         // slot, value = which one (of kKindMessages: its association). Reply: slot of the new socket, K as of open_socket, local, remote; error again when none waits
  shutdown,       // slot, value = SHUT_RD | SHUT_WR | SHUT_RDWR (SHUT_WR of a shared-mode socket goes through its ring)
  set_option,     // slot, level, name, data
  get_option,     // slot, level, name. Reply: data, value = length
  disconnect,     // slot: connect(AF_UNSPEC)
  attach,         // fds {K}: proves possession. Reply: slot in this channel
  rehome,         // slot: make this channel the home of the socket (SocketMode). Reply: slot and generation, both of
                  // which may be new (the old slot stays, moved, until its output is completed)
  demote,         // slot: go to kernel mode; the reply comes when the queues have been drained into K's pair
  event_queue,    // value = queue index, flags: QueueFlag. Open: reply fd {read end of a pipe that the server writes to wake}; the
                  // server makes it, because a descriptor that the client could make blocking would let it stop the server
  interfaces,     // Reply: data = InterfaceInfo of interface `value`; error invalid past the last
  region,         // value = number, 1 … abi::kMaxRegions; fds {memfd}: output may refer to it, and input be lent in it, from now on; no fd:
                  // no more
  peer_region,    // value = its number in this channel (SocketShared::peer_region). Reply: value = its serial, fd {memfd}
  peer_wake,      // value = number of a region, flags = event queue of the other client: wakes it. Reply: fd {write end of the queue's pipe},
                  // with which the caller does so itself from now on
  send_owner,     // slot, value = pid/pgid for SIGURG, 0: nobody. The client sets it on K itself (F_SETOWN): the kernel sends the signal
  stock,          // kind in `value`, level = how many, flags: StockFlag. Reply: value = how many, fds {K…} for the client to keep, data = the
                  // number (uint32_t) of each one's pair
  engine,         // value = an engine, 1 … < ServerInfo::engines; once, of engine 0. Reply: fds {control connection, kick eventfd} to it; all
                  // about a socket goes over the connection to its engine
  peer_memory,    // value = number of a peer region, flags = number of one of the other client's regions (Op::region), to which
                  // abi::PassageReference refers. Reply: fd {its memfd}; error not_permitted unless both are of one user
  admin = 100,    // text command in data ("ss", "stat", "capture start", "ping ADDRESS COUNT", "version"); reply: value = length,
                  // fd {memfd with JSON}; capture start: fd {read end of a pipe carrying pcapng until it is closed}
};

enum HelloFlag : uint32_t {
  kHelloAdmin = 1,  // no channel, only admin
  kHelloPeers = 2,  // sockets may be put into kModePassing
};
enum QueueFlag : uint32_t { kQueueOpen = 1, kQueueWake = 4 /* write the queue's pipe now: its set changed */ };
enum StockFlag : uint32_t { kStockSpares = 1 /* for sockets that the client opens: see abi::SpareRing */ };
enum OpenFlag : uint32_t { kOpenKernelMode = 1 /* --scheme copy */, kOpenV6 = 2 /* AF_INET6 dual-stack, for ss */ };

struct Address {
  uint8_t ip[16];  // IPv4-mapped, network order
  uint16_t port;   // host order
  uint16_t reserved;
};

struct Request {
  uint32_t op = 0;
  uint32_t sequence = 0;   // echoed in the reply
  uint32_t slot = 0;
  uint32_t generation = 0; // of the slot
  uint32_t value = 0;
  uint32_t flags = 0;
  int32_t level = 0, name = 0;
  Address address{};
  uint32_t data_length = 0;
  uint8_t data[kMaxData] = {};
};

struct Reply {
  uint32_t op = 0;
  uint32_t sequence = 0;
  uint32_t error = 0;      // Errc
  uint32_t slot = 0;
  uint32_t generation = 0;
  uint32_t value = 0;
  Address local{}, remote{};
  uint32_t data_length = 0;
  uint8_t data[kMaxData] = {};
};
static_assert(sizeof(Request) == 312 && sizeof(Reply) == 324);

// Smaller pieces of output are never referred to, bytes: to ask whether their page was written to costs as much as to copy them.
inline constexpr uint64_t kLeastReference = 64 << 10;

// data of the hello reply.
struct ServerInfo {
  uint64_t instance;          // random per start of ferryd
  uint32_t abi_version;
  uint32_t server_pid;
  uint32_t interface_count;
  uint32_t serves_loopback;   // --loopback
  uint32_t client_spin_ns;    // the longest that a client may spin before it sleeps; 0: never
  uint32_t has_gateway;       // everything unicast has a route
  uint32_t engines;           // each has sockets of its own; 0 has all but TCP
  uint32_t reserved;
  uint64_t region_bytes;      // largest region of a client, 0: none are taken
  uint64_t reference_bytes;   // so many bytes of output pay for making a page ready to be referred to, kLeastReference at least
  uint64_t swap_bytes;        // a page into which so many bytes were received is worth exchanging; 0: none is
  char version[32];           // "0.1.0"
};
static_assert(sizeof(ServerInfo) <= kMaxData);

struct InterfaceInfo {
  char name[16];
  uint8_t mac[6];
  uint8_t prefix_length;
  uint8_t reserved;
  uint32_t address;           // IPv4, host order
  uint32_t mtu;
  uint32_t index;             // as the kernel numbers it, 0: none
};

}  // namespace ferry::ipc::control
