// A Ferry socket in this process: what the sockets API asks of an AF_INET descriptor, without knowing how a program's calls get
// here. One object per open file description; libferry's table says which descriptor numbers name it.
//
// `k` in every call is a descriptor number that names the socket right now (the kernel object that backs it; the number the
// program used): needed to prove possession after fork or exec, and in kernel mode. The object keeps no number and owns none.
//
// Results: >= 0 or -errno, as the system call would (ip(7), tcp(7), udp(7), send(2), recv(2)). SIGPIPE is the caller's: it follows -EPIPE
// from send() on a stream without MSG_NOSIGNAL. -EINTR comes when a signal handler ran that the kernel would not restart
// after: without time-out the kernel itself restarts the wait for SA_RESTART handlers; with one (SO_RCVTIMEO, SO_SNDTIMEO) it never does.
//
// Modes (ipc/abi.h): shared — rings and pools; kernel — plain system calls on K; moved — asks for the socket back first, unseen by
// the caller. Any thread may call anything; two readers (or two writers) take turns, blocked callers hold no lock.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "client/adaptive_spin.h"
#include "client/address.h"
#include "client/datagram_cork.h"
#include "client/home.h"
#include "client/mutex.h"
#include "ipc/abi.h"

namespace ferry::client {

class EventQueue;
class Deadline;
class IovCursor;
struct FileBytes;
class RingLock;
enum class Side;

using ipc::abi::SocketKind;
using ipc::abi::SocketMode;

// A control message of the protocol's own level (sctp(7)) that goes along with a message; carried, not read.
struct MessageControl {
  uint16_t type = 0;
  uint16_t length = 0;            // bytes, 0: none
  uint8_t bytes[32] = {};
};

// One sendmsg. Stream sockets ignore the datagram part.
struct SendRequest {
  std::span<const iovec> data;
  // In place of `data`: as much of it as is in the page cache or in the pipe, perhaps nothing. Only what goes out is taken from a pipe. Datagrams
  // and messages: of pipes only.
  const FileBytes* file = nullptr;
  int flags = 0;                  // MSG_DONTWAIT, MSG_MORE, MSG_OOB, MSG_EOR, MSG_CONFIRM, MSG_DONTROUTE, MSG_NOSIGNAL (no effect here)
  bool nonblocking = false;       // O_NONBLOCK of the description
  // --- datagrams ---
  const Address* to = nullptr;    // nullptr: the connected peer
  const Address* source = nullptr;  // IP_PKTINFO: wanted source address, port ignored
  int tos = -1;                   // IP_TOS control message, -1: the socket's
  int ttl = 0;                    // IP_TTL control message, 0: the socket's
  // --- messages ---
  const MessageControl* control = nullptr;
};

// What IP_RECVERR brings (struct sock_extended_err).
struct QueuedError {
  int error = 0;                  // positive errno
  uint8_t type = 0, code = 0;     // of the ICMP message
  Address offender{};
};

// One recvmsg; the lower half is filled in.
struct ReceiveRequest {
  std::span<const iovec> data;
  int flags = 0;                  // MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL, MSG_TRUNC, MSG_OOB, MSG_ERRQUEUE
  bool nonblocking = false;
  // --- results ---
  int out_flags = 0;              // MSG_TRUNC, MSG_OOB, MSG_ERRQUEUE, MSG_EOR
  bool has_source = false;        // datagrams: the following are valid
  Address source{};               // sender; for MSG_ERRQUEUE where the offending datagram went
  Address destination{};          // where it was sent to (IP_PKTINFO)
  uint32_t interface_index = 0;   // kernel number of the interface, 0 none
  uint8_t tos = 0, ttl = 0;
  uint64_t timestamp_ns = 0;      // CLOCK_REALTIME of arrival
  QueuedError queued_error;       // MSG_ERRQUEUE
  MessageControl control;         // messages
};

// Options that the client keeps itself; libferry reads them to decide which control messages to build (LocalOption bits).
enum LocalOption : uint32_t {
  kOptTimestamp = 1,      // SO_TIMESTAMP
  kOptTimestampNs = 2,    // SO_TIMESTAMPNS
  kOptPktinfo = 4,        // IP_PKTINFO
  kOptRecvTos = 8,        // IP_RECVTOS
  kOptRecvTtl = 16,       // IP_RECVTTL
  kOptRecvErr = 32,       // IP_RECVERR
  kOptOobInline = 64,     // SO_OOBINLINE
  kOptRecvPktinfo6 = 128, // IPV6_RECVPKTINFO
  kOptOrigDst = 256,      // IP_RECVORIGDSTADDR
  kOptCork = 512,         // UDP_CORK
  kOptMessageInfo = 1024, // SCTP_EVENTS with sctp_data_io_event
  kOptReceiveInfo = 2048, // SCTP_RECVRCVINFO
};

struct ListenerParts;

class Socket {
 public:
  Socket() = default;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { close(); }

  // --- beginning and end ---

  // A new socket. Returns K (close-on-exec and O_NONBLOCK as asked), which is the caller's, or -errno. `v6`: made as AF_INET6.
  int open(SocketKind kind, bool v6, bool nonblocking, bool close_on_exec);
  // Becomes the socket behind K that was inherited or received. 0; -ENOTSOCK: not a socket of this ferryd; -EEXIST: this process
  // has a Socket for it already (`twin`, if asked for), which the number should name too; -errno.
  int attach(int k, Socket** twin = nullptr);
  // Becomes what `other` is in this process's parent: kind, options kept here. Attaches at the first use, by K.
  void inherit(const Socket& other);
  // The last number of this process is gone (or is about to be). Touches no descriptor; output goes on its way.
  // The object may be used again for another socket. No call may be in progress on it.
  void close();
  bool is_open() const { return kind_ != 0; }
  // To be asked for before the last number of this process is closed, and rung afterwards: the server sees the end of K by itself, but
  // later than its peer should see the FIN.
  class CloseBell {
   public:
    CloseBell() = default;
    // `wake`: nothing else tells the server.
    CloseBell(Channel* channel, uint32_t engine, uint32_t slot, bool wake)
        : channel_(channel), engine_(engine), slot_(slot), wake_(wake) {}
    void ring() const {
      if (channel_ == nullptr) return;
      if (wake_) channel_->ring(engine_, slot_);
      else channel_->ring_without_kick(engine_, slot_);
    }

   private:
    Channel* channel_ = nullptr;
    uint32_t engine_ = 0, slot_ = 0;
    bool wake_ = false;
  };
  // `only_copy`: as far as is known, no other number or process has K, which is as it was made but for O_NONBLOCK: it can be kept for
  // another socket (stock.h).
  CloseBell close_bell(int k, bool only_copy, bool nonblocking);

  SocketKind kind() const { return static_cast<SocketKind>(kind_); }
  // SOCK_STREAM.
  bool is_stream() const {
    return kind_ == ipc::abi::kKindTcp || kind_ == ipc::abi::kKindListener || kind_ == ipc::abi::kKindMessage;
  }
  // Of the protocol that keeps the bounds of messages (or a listener of it).
  bool is_message() const { return message_ || kind_ == ipc::abi::kKindMessage || has_many_peers(); }
  // SOCK_SEQPACKET: one-to-many (sctp(7)).
  bool has_many_peers() const { return kind_ == ipc::abi::kKindMessages; }
  bool is_listener() const { return kind_ == ipc::abi::kKindListener; }
  // A listener that no shutdown(2) has ended, as far as this process knows it.
  bool is_listening() const;
  bool v6() const { return v6_; }

  // --- names and connections ---
  int bind(int k, const Address& local);
  int listen(int k, int backlog);
  // Accepts into `child` (not open). Returns the child's K, or -errno. `remote` may be nullptr.
  int accept(int k, Socket& child, bool nonblocking, bool child_nonblocking, bool child_close_on_exec, Address* remote);
  // Takes an association out of a socket with many peers into `child` (not open). Returns the child's K, or -errno.
  int peel_off(int k, uint32_t association, Socket& child, bool child_nonblocking, bool child_close_on_exec);
  // Waits for the outcome unless nonblocking (-EINPROGRESS). -EALREADY, -EISCONN, -ECONNREFUSED, … as connect(2).
  int connect(int k, const Address& remote, bool nonblocking);
  int disconnect(int k);                       // connect to AF_UNSPEC
  int shutdown(int k, int how);
  int local_address(int k, Address& out);      // getsockname; an unbound socket gives zeros
  int remote_address(int k, Address& out);     // getpeername; -ENOTCONN

  // --- data ---
  long send(int k, const SendRequest& request);
  long receive(int k, ReceiveRequest& request);

  // --- readiness ---
  // poll(2) bits as the kernel computes them: POLLIN OUT PRI ERR HUP RDHUP RDNORM WRNORM. Never blocks. For what is not ready the
  // server is asked (wants) to signal a change, so a caller that has watch()ed may sleep afterwards.
  uint32_t readiness(int k);
  int bytes_available(int k);                  // FIONREAD / SIOCINQ
  int bytes_unsent(int k);                     // SIOCOUTQ: not yet acknowledged
  int at_mark(int k);                          // SIOCATMARK: 0 or 1
  // Waits until readiness() has one of `events` (or ERR, HUP), at most `timeout_ns` (-1: no limit), whatever SO_RCVTIMEO says.
  // The bits, 0 on time-out, or -EINTR. For calls that block without transferring. Not for a socket with parts, which needs an event queue.
  bool has_parts() const { return __atomic_load_n(&parts_, __ATOMIC_ACQUIRE) != nullptr; }
  int wait(int k, uint32_t events, int64_t timeout_ns);

  // --- options: numbers are Linux's, as in setsockopt(2) ---
  int set_option(int k, int level, int name, const void* value, socklen_t length);
  int get_option(int k, int level, int name, void* value, socklen_t* length);
  uint32_t local_options() const { return __atomic_load_n(&local_options_, __ATOMIC_RELAXED); }
  // Takes the pending error (SO_ERROR): positive errno or 0.
  int take_error(int k);
  // F_SETOWN: who gets SIGURG and SIGIO.
  int set_owner(int k, int pid_or_group);

  // --- modes ---
  SocketMode mode(int k);
  // One-way to kernel mode; what was queued is in K's pair, in order, afterwards. 0 or -errno.
  int demote(int k);

  // The slot in the channel of this process, ~0u if not at home there; changes when the socket moves. For event queues.
  uint32_t slot() const;
  // What K is; unknown unless it came from a stock.
  const Identity& identity() const { return identity_; }

 private:
  friend class EventQueue;

  // --- socket_home.cc ---
  // The home in this process, made if there is none (attach). 0, or -errno: -ENETDOWN when its server is gone.
  int home(int k, Home*& out);
  Home* current_home() const { return __atomic_load_n(&home_, __ATOMIC_ACQUIRE); }
  // Home with its tx or rx lock held and in shared mode: 0. kKernelMode: use K. -errno.
  int enter(int k, Side side, Home*& h, RingLock& lock);
  // Likewise without a lock, for a look at indices.
  int enter(int k, Home*& h);
  // `seen` cannot be used: waits for the end of a revocation, asks for the socket back. 0: try again; kKernelMode; -errno.
  int settle(Home* seen);
  int rehome(Home* seen);
  static int ask_home(Channel& channel, uint32_t engine, uint32_t slot, uint32_t generation, ipc::control::Reply& reply);
  static Home* make_home(Channel& channel, uint32_t slot, uint32_t generation);
  Home* take_older(const Channel& channel, uint32_t slot);
  void adopt(Channel* channel, uint32_t slot, uint32_t generation);
  void adopt(Channel* channel, const Stock::Taken& taken);
  void leave(Home& h);
  void apply_watches(Home& h);
  // A control call about this socket; fills in slot and generation. 0 or -errno.
  int control(int k, ipc::control::Op op, ipc::control::Request& request, ipc::control::Reply& reply,
              ipc::DescriptorList* received = nullptr);
  static constexpr int kKernelMode = 1;
  static constexpr int kWait = 2;
  static constexpr int kStarved = 3;
  static int take_error_of(Home& h);  // positive errno, 0 none
  int error_in_kernel_mode();         // likewise, if this process has the socket's slot

  // --- stream_send.cc, stream_receive.cc, datagram_send.cc, datagram_receive.cc, message_*.cc, kernel_mode.cc ---
  long send_stream(int k, const SendRequest& request);
  long send_nothing(int k);
  uint64_t output_space(Home& h) const;
  uint64_t output_window(Home& h) const;
  ipc::abi::Descriptor refer_piece(Home& h, IovCursor& data, uint64_t window);
  ipc::abi::Descriptor copy_piece(Home& h, IovCursor& data, uint64_t space, bool& fault);
  void announce_regions(int k, std::span<const iovec> list);
  size_t put_stream(Home& h, IovCursor& data, int flags, bool& fault);
  void regain_output(Home& h);
  int stream_send_state(Home& h, bool sent);
  long receive_stream(int k, ReceiveRequest& request);
  // What one receive from a stream wants, and has got.
  struct Receiving;
  long receive_pieces(int k, ReceiveRequest& request, Receiving& r);
  long receive_urgent(int k, ReceiveRequest& request);
  size_t take_stream(Home& h, Receiving& r, bool& fault);
  void forget_input(int k);
  // stream_pages.cc
  void stock_input(int k, Receiving& r);
  static const std::byte* input_bytes(Home& h, const ipc::abi::Descriptor& d, uint32_t used, uint64_t position, uint32_t& n);
  static uint32_t take_piece(Home& h, Receiving& r, const std::byte* from, uint32_t n, uint64_t position);
  static bool settle(Home& h, Receiving& r);
  static void lend_input(Home& h, Receiving& r, bool more);
  int stream_receive_state(Home& h, uint32_t ready, uint32_t error);
  long send_datagram(int k, const SendRequest& request);
  long send_whole_datagram(int k, const SendRequest& request);
  bool is_to_port_0(const SendRequest& request) const;
  bool is_corked(const SendRequest& request) const;
  DatagramCork& cork();
  long send_corked(int k, bool nonblocking);
  template <typename Header>
  int put_record(Home& h, Header& header, IovCursor& data);  // record_send.cc
  long receive_datagram(int k, ReceiveRequest& request);
  long take_datagram(Home& h, ReceiveRequest& request);
  void collect_errors(Home& h);
  long send_message(int k, const SendRequest& request);
  long receive_message(int k, ReceiveRequest& request);
  long take_message(Home& h, ReceiveRequest& request);
  int message_send_state(Home& h, const SendRequest& request);
  int message_receive_state(Home& h, uint32_t ready, uint32_t error);
  static uint32_t message_bytes(Home& h);
  void note_message_option(int name, const void* value, socklen_t length);
  long take_queued_error(ReceiveRequest& request);
  long send_kernel(int k, IovCursor& data, const SendRequest& request);
  long receive_kernel(int k, IovCursor& to, ReceiveRequest& request);
  uint32_t kernel_readiness(int k);

  // --- passage.cc ---
  int join(Home& h);
  static void ask_to_leave(Home& h);
  static Passage* passage_of(const Home& h);
  static bool can_use(const Home& h);  // socket_home.cc
  static bool sends_by_passage(const Home& h, int flags);
  size_t put_passage(Home& h, Passage& p, IovCursor& data, bool& fault);
  size_t take_passage(Home& h, Passage& p, Receiving& r, bool& fault);
  void watch_passage(Home& h, uint32_t place, uint32_t queue);
  // passage_pages.cc
  static uint32_t put_page(Home& h, Passage& p, IovCursor& data, uint64_t& ahead);
  static void invite_pages(Home& h, Passage& p, const Receiving& r);
  static size_t take_page(Home& h, Passage& p, Receiving& r, const ipc::abi::PassageReference& reference, uint32_t used, bool& mapped, bool& fault);
  static bool map_pages(Home& h, Receiving& r);

  // --- server_gone.cc ---
  bool falls_silent() const;
  uint32_t readiness_without_server() const;
  // -ENETDOWN; 0 if that has been told and is not to be told again.
  int error_without_server();
  // For a call that would wait for input: -ENETDOWN, -EAGAIN or -EINTR.
  int receive_without_server(bool nonblocking, Deadline& deadline);
  // Until a signal (-EINTR) or the time is up (-EAGAIN).
  int sleep_without_server(Deadline& deadline);

  // --- readiness.cc ---
  uint32_t stream_readiness(Home& h);
  uint32_t datagram_readiness(Home& h);
  bool is_readable(Home& h);
  bool is_writable(Home& h) const;

  // --- listener.cc ---
  struct AllSeen;
  void join_parts(int k);
  template <typename Visit>
  void for_each_part(Visit&& visit) const;
  void register_parts(EventQueue& queue, uint32_t place);
  void unregister_parts(uint32_t place);
  void leave_parts();
  void delete_parts();
  bool is_any_acceptable(const Home& main) const;
  int wait_for_any(Home& main, const AllSeen& seen, Deadline& deadline);
  int accept_at(Home& h, Socket& child, Stock::Flags flags, Address* remote);
  int ask_for_connection(Home& h, uint32_t which, Socket& child, Stock::Flags flags, Address* remote);
  void adopt_child(Home& h, Socket& child, const Stock::Taken& taken);

  // --- socket.cc ---
  static int take_handed(Channel& channel, uint32_t engine, const ipc::control::Reply& reply, ipc::DescriptorList& fds,
                         Stock::Flags flags, Stock::Taken& out);
  static int open_one(Channel& channel, uint32_t engine, SocketKind kind, bool v6, Stock::Flags flags, Stock::Taken& out);
  int shutdown_output(int k);
  int wait_connected(int k, bool nonblocking);

  // --- ring_calls.cc ---
  // Puts the call into the output ring. False: it must be asked for (abi::RingCall).
  bool post_connect(int k, const Address& remote, bool nonblocking);
  bool post_option(int k, int level, int name, const void* value, socklen_t length);
  bool post(int k, uint16_t what, uint64_t argument, bool connects);

  // --- waiting.cc ---
  // The events that a caller knows of when it begins to look: the server's, and in a passage the other client's.
  struct Seen {
    uint32_t server = 0, peer = 0;
    Passage* passage = nullptr;
  };
  static Seen look(const Home& h);
  // Of a call that finds no room: who was asked to tell of some, and what had been seen before. The answer may come, and the wish be void,
  // before the caller has looked once more, so it waits for anything since `before`.
  struct Wish {
    const Home* asked = nullptr;
    Seen before;
    // Asks by `wants` (abi::WantBit). False: asked already.
    bool make(const Home& h, const Seen& seen, uint32_t& wants);
  };
  static bool has_news(const Home& h, const Seen& seen);
  // Sleeps until there are events that differ from `seen`, spinning first. 0 look again; -EINTR; -EAGAIN: time is up; -ENETDOWN.
  int wait_for_event(Home& h, const Seen& seen, Deadline& deadline);
  int sleep_for_event(Home& h, const Seen& seen, Deadline& deadline);
  static long sleep_once(Home& h, const Seen& seen, int64_t wait_ns, bool limited);  // -1: no limit
  int wait_a_little(Home& h, const Seen& seen);

  struct ErrorNode {
    QueuedError error;
    Address destination;
    ErrorNode* next;
  };

  Home* home_ = nullptr;           // newest; atomic
  uint32_t pair_ = ipc::control::kNoPair;  // number of K in the stock of the home's channel
  uint32_t copies_ = 0;            // Stock::Taken::copies
  Identity identity_;
  uint32_t kind_ = 0;
  bool v6_ = false;
  bool message_ = false;           // opened as kKindMessage: a listener's kind does not tell
  bool kernel_mode_ = false;       // seen in kernel mode, which is for ever: K is used without a look at the channel
  bool connecting_ = false;        // a connect is under way, its outcome not yet told by connect()
  Mutex mutex_;                    // changes of home_, watches_
  uint32_t local_options_ = 0;     // LocalOption bits; atomic
  int receive_low_water_ = 1;      // SO_RCVLOWAT, bytes
  int64_t receive_timeout_ns_ = 0; // SO_RCVTIMEO, 0 none
  int64_t send_timeout_ns_ = 0;
  AdaptiveSpin spin_;              // before a blocking call sleeps
  uint32_t gone_told_ = 0;         // the end of ferryd has been told once (server_gone.cc); atomic
  ErrorNode* errors_ = nullptr;    // oldest first; under rx_lock
  uint32_t error_count_ = 0;
  EventQueue* watches_[ipc::abi::kWatches] = {};
  ListenerParts* parts_ = nullptr; // of a listener, in engines other than the home's; newest; atomic
  uint32_t accept_turn_ = 0;       // atomic
  DatagramCork* cork_ = nullptr;   // made when first needed; atomic
};

}  // namespace ferry::client
