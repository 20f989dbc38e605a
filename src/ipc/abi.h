// The shared-memory ABI between a client process and ferryd: one channel = one sealed memfd with this layout, mapped by both.
// The whole of it is in this header; docs/shm-abi.md tells it in prose. Every field has one writer, named beside it.
// The server trusts nothing that a client can write: it loads each word once, validates the copy, and uses the copy.
//
//   +---------------+------------------+---------------+---------------+--------------------+-------------------+
//   | ChannelHeader | EventQueue[256]  | SocketShared[]| output pool   | input pool         | (end, sealed)     |
//   +---------------+------------------+---------------+---------------+--------------------+-------------------+
//
// Doorbells and event queues are two-level bitmaps over socket slots, not rings: setting a bit twice is one event, nothing can
// overflow, any number of threads and engines may set or take bits without a lock, and a hostile client can at worst make
// the server look at its own sockets (docs/architecture.md, "Why bitmaps").
#pragma once

#include <cstddef>
#include <cstdint>

namespace ferry::ipc::abi {

inline constexpr uint32_t kMagic = 0x59525246;  // "FRRY"
inline constexpr uint32_t kVersion = 16;         // raised with any change of this header
inline constexpr uint32_t kPageSize = 4096;
inline constexpr uint32_t kMaxSockets = 16384;  // slots of one channel
inline constexpr uint32_t kMaxQueues = 256;     // event queues of one channel: one per epoll set, one per polling thread
inline constexpr uint32_t kMaxEngines = 8;
inline constexpr uint32_t kRingEntries = 32;    // descriptors per direction and socket; a power of two
inline constexpr uint32_t kWatches = 4;         // event queues that one socket can report to
inline constexpr uint32_t kMaxPairs = 256;      // descriptor pairs of one channel that have a number; a power of two
inline constexpr uint32_t kMaxRegions = 16;     // regions of one client beside its channel
inline constexpr uint64_t kHugePageSize = 2u << 20;  // regions consist of such pages
inline constexpr uint32_t kInputPieces = 4;     // of a socket's input memory that a client can lend at once
inline constexpr uint32_t kMaxOffers = 16;      // connections of one listener that one client can be offered at once, < kRingEntries

// One bit per socket slot. A setter sets the word bit, then the summary bit; a taker clears the summary bit by exchange, then
// takes the words it named.
struct SlotBitmap {
  uint64_t summary[kMaxSockets / 64 / 64];
  uint64_t words[kMaxSockets / 64];
};
static_assert(sizeof(SlotBitmap) == 2080);

// An I/O descriptor as it crosses the channel.
struct Descriptor {
  uint64_t offset;  // from the start of the channel's memfd, or of the region's
  uint32_t length;  // bytes, a DatagramHeader included for datagram sockets
  uint16_t region;  // 0: this channel; 1 … kMaxRegions: a region of the client's (Op::region), streams only
  uint16_t flags;   // DescriptorFlag
};
static_assert(sizeof(Descriptor) == 16);

enum DescriptorFlag : uint16_t {
  kMore = 1,      // output: MSG_MORE, do not push a partial segment yet
  kUrgent = 2,    // output: the last byte is urgent (MSG_OOB)
  kShutdown = 4,  // output: no data follows (shutdown(SHUT_WR)); length may be 0
  kContinues = 8, // the datagram goes on in the next descriptor
  kCall = 16,     // output of streams: no data but a call, in order with it; region = RingCall, offset = its argument, length 0
};

// Calls that need no answer of their own: the outcome shows in the socket's words, which are published before tx_taken passes the entry.
enum RingCall : uint16_t {
  kCallConnect = 1,  // argument: IPv4 address (host order) | port << 32
  kCallOption = 2,   // argument: value | level << 32 | name << 48, as setsockopt(2) with an int. Errors are not told
};

// A listener's `rx`: a connection that waits, already at home in this channel, for this client to take by raising rx_consumed with a
// compare-and-exchange. The server takes back all that are left by exchanging rx_consumed with rx_produced. Its address is in its slot.
inline Descriptor offer_of(uint32_t slot, uint32_t generation, uint32_t pair) { return {slot | uint64_t{generation} << 32, pair, 0, 0}; }

// Memory in a region of the client's that it lends for input of a stream: the byte at `position`, counted as rx_consumed_bytes is, and those
// that follow may be put at `offset` and behind.
struct InputPiece {
  uint64_t position;
  uint64_t offset;    // in the region
  uint32_t length;    // bytes
  uint16_t region;    // 1 … kMaxRegions
  uint16_t reserved;
};
static_assert(sizeof(InputPiece) == 24);

// In front of every datagram in a pool. Server writes it for input; client writes it for output (copied once, validated).
struct DatagramHeader {
  uint8_t remote_address[16];  // IPv4-mapped IPv6, network order; all zero in output: the connected peer
  uint8_t local_address[16];   // input: destination of the datagram; output: wanted source (IP_PKTINFO), zero: by route
  uint16_t remote_port;        // host order
  uint8_t tos;
  uint8_t ttl;                 // output: 0 means the socket's
  uint32_t interface_index;    // input: as ferryd's kernel numbers it, 0: it does not; output: 0
  uint32_t payload_length;     // bytes after this header
  uint32_t flags;              // DatagramFlag
  uint64_t timestamp_ns;       // input: CLOCK_REALTIME of arrival
  uint64_t reserved;
};
static_assert(sizeof(DatagramHeader) == 64);

enum DatagramFlag : uint32_t {
  kDatagramTruncated = 1,
  kDatagramTosSet = 2,   // output: `tos` overrides the socket's
  kDatagramError = 4,    // input: an ICMP error for the error queue (IP_RECVERR); `reserved` = errno | type << 32 | code << 40
};

// The same in front of every message, or piece of one, of sockets of kKindMessage and kKindMessages. The IPC and libferry carry `control`, they do not
// read it.
struct MessageHeader {
  uint8_t remote_address[16];  // IPv4-mapped IPv6, network order; all zero in output: the connected peer
  uint16_t remote_port;        // host order
  uint16_t control_type;       // of the control message in `control`, at the level of the protocol
  uint32_t payload_length;     // bytes after this header
  uint32_t flags;              // MessageFlag
  uint16_t control_length;     // bytes of `control`, 0: none
  uint16_t reserved;
  uint8_t control[32];
};
static_assert(sizeof(MessageHeader) == 64);

enum MessageFlag : uint32_t {
  kMessageEnd = 1,           // input: the message ends with this piece (MSG_EOR)
  kMessageNotification = 2,  // input: MSG_NOTIFICATION
};

// How a socket slot is used; written by the server only.
enum SocketMode : uint32_t {
  kModeFree = 0,    // no socket (any more): the server refers to none of its output
  kModeShared = 1,  // tier 1: rings and pools of this channel
  kModeKernel = 2,  // tier 2: the server moves bytes over the descriptor K
  kModeMoved = 3,   // another process's channel is home now: ask for it back (Op::rehome) before using rings
  kModePassing = 4, // as shared, but the stream goes on in a passage (PassageEnd) behind what is in the rings: what the client puts into tx
                    // now, and kWantLeave, make the server bring it back to the rings
};

enum SocketKind : uint32_t { kKindTcp = 1, kKindListener = 2, kKindUdp = 3, kKindIcmp = 4, kKindMessage = 5 /* SCTP, one-to-one */,
                             kKindMessages = 6 /* SCTP, one-to-many */ };

// State bits in SocketShared::ready, the server's view; the client adds what its own indices tell.
enum ReadyBit : uint32_t {
  kReadable = 1,       // the server has delivered something not yet consumed when last looked (hint; rx indices decide)
  kWritable = 2,       // connected, output open
  kReadClosed = 4,     // peer's FIN delivered: after the queue, end of file
  kWriteClosed = 8,    // our output is shut down or the connection is gone
  kHangUp = 16,        // connection gone both ways (POLLHUP)
  kErrorPending = 32,  // `error` holds a code (POLLERR)
  kUrgentPending = 64, // urgent byte or mark ahead (POLLPRI)
  kAcceptable = 128,   // listener: connections wait for whoever asks (Op::accept); those in `rx` are not among them
  kConnecting = 256,   // a connect is under way
  kConnected = 512,
};

// kWantClose: K has been closed by this process; look at once whether that was the last copy. kWantGiveBack: the socket is closed, and
// the only copy of K is kept by this process for its next socket. kWantLeave: the passage is of no use, go on by the rings (its words
// make no sense, or it cannot be mapped).
enum WantBit : uint32_t { kWantRead = 1, kWantWrite = 2, kWantClose = 4, kWantGiveBack = 8, kWantLeave = 16 };

// rx_lock and tx_lock: 0 free; bit 0 held; bit 1 held with waiters; bit 31 revoked by the server (the holder, on release,
// rings the doorbell; nobody may take it until the server clears the bit or the mode has changed).
enum LockBit : uint32_t { kLockHeld = 1, kLockWaiters = 2, kLockRevoked = 0x80000000u };

// Positions and free-running indices count from the moment the slot got its generation: all of them are 0 then,
// but for event_seq and waiters, which go on.
struct alignas(64) SocketShared {
  // --- written by the server ---
  uint32_t generation;       // raised when the slot is given to a new socket
  uint32_t mode;             // SocketMode
  uint32_t kind;             // SocketKind
  uint32_t ready;            // ReadyBit
  uint32_t event_seq;        // raised with every event; shared futex for blocking calls
  uint32_t event_time;       // of the last event: µs, and no two of an engine the same; wraps, so compare differences
  uint32_t error;            // SO_ERROR: an Errc; the client takes it by exchange with 0
  uint32_t tx_taken;         // output ring: entries the server has taken (free-running)
  uint32_t rx_produced;      // input ring: entries the server has written (free-running)
  uint32_t send_buffer;      // bytes of output the client may have outstanding (SO_SNDBUF, autotuned); 0: none for now, the buffer is as if full
  uint64_t tx_completed;     // bytes of output that the server no longer refers to, cumulative, in order
  uint64_t rx_report_at;     // ring the doorbell when rx_consumed_bytes reaches this
  uint32_t receive_buffer;   // SO_RCVBUF, autotuned
  uint32_t tcp_state;        // tcp::State
  uint64_t urgent_mark;      // input stream position (bytes since start) just after the urgent byte
  uint32_t urgent_byte;      // 0x100 | byte while it can be read with MSG_OOB
  uint32_t mss;
  uint32_t accept_count;     // listener: connections waiting, offered ones included
  uint8_t local_address[16]; // IPv4-mapped, network order
  uint8_t remote_address[16];
  uint16_t local_port;       // host order
  uint16_t remote_port;
  uint32_t engine;           // whose doorbell this socket rings
  // --- kModePassing ---
  uint32_t passage_epoch;    // counts the passages of this slot: both ends of a new one begin at position 0
  uint32_t peer_region;      // number of the region among those of this channel, < kMaxPeerRegions
  uint32_t peer_serial;      // of the region that has this number now: another serial means another memfd (Op::peer_region)
  uint32_t passage;          // < kPassages
  uint32_t passage_side;     // 0 or 1: which end is ours
  uint32_t passage_limit;    // bytes that may lie in our outgoing ring, <= kPassageBytes
  uint32_t passage_referring; // bytes that our references may make up (PassageReference); 0: none, because the other client is another user's
  uint32_t input_done;       // input pieces that the server will not write to any more, and of which nothing is unread (free-running)
  uint32_t reserved_server[9];

  // --- written by the client ---
  alignas(64) uint32_t tx_lock;  // LockBit; the server sets and clears kLockRevoked
  uint32_t rx_lock;
  uint32_t tx_produced;        // output ring: entries the client has written (free-running)
  uint32_t rx_consumed;        // input ring: entries the client is done with (free-running); a listener's: both, see offer_of()
  uint64_t rx_consumed_bytes;  // bytes read by the program, cumulative; includes part of the entry at rx_consumed
  uint32_t wants;              // WantBit: wake me at the next such event; the server clears what it answers
  uint32_t waiters;            // threads in FUTEX_WAIT on event_seq
  uint32_t watches[kWatches];  // event queue index + 1, 0: none. A hint: which queues get this slot's bit
  uint64_t copied_out;         // payload bytes the client copied into the output pool, since the slot's generation began
  uint64_t copied_in;          // payload bytes the client copied out of the input pool; both for copy accounting only

  alignas(64) InputPiece input[kInputPieces];  // ring of memory that is lent for input
  uint16_t input_produced;     // pieces lent (free-running)
  uint16_t input_withdrawn;    // pieces before this one are to be filled no more (free-running)
  uint32_t swapped_pages;      // pages of the program's that changed places with lent ones
  uint64_t swapped_in;         // payload bytes in them, not copied; both for copy accounting only

  alignas(64) Descriptor tx[kRingEntries];  // written by the client
  Descriptor rx[kRingEntries];              // written by the server; of a listener: offers, see offer_of()
};
static_assert(sizeof(SocketShared) == 192 + 3 * 64 + 2 * 512);
static_assert(offsetof(SocketShared, tx_lock) == 192 && offsetof(SocketShared, input) == 256 && offsetof(SocketShared, tx) == 384);

struct alignas(64) EventQueue {
  uint32_t sleeping;  // client stores 1 before it sleeps; server exchanges with 0 and writes a byte to the queue's pipe if it was 1
  uint32_t in_use;    // client
  uint32_t reserved[14];
  SlotBitmap ready;   // server sets, client takes
};
static_assert(sizeof(EventQueue) == 2176);

// A socket that is open already, for the client's next socket(2): its slot, and the number of the pair whose K the client keeps.
struct Spare {
  uint32_t slot;
  uint32_t generation;
  uint32_t pair;      // < kMaxPairs
  uint32_t reserved;
};
static_assert(sizeof(Spare) == 16);

// Written by the server, taken by the client in order. A pair is in it at most once until the client has taken the entry, so it
// cannot overflow, and the server need not know what was taken.
struct alignas(64) SpareRing {
  uint32_t produced;  // entries written (free-running)
  uint32_t reserved[15];
  Spare entries[kMaxPairs];
};
static_assert(sizeof(SpareRing) == 64 + 16 * kMaxPairs);
// --- a region of two client processes: connections between them, past the server (docs/shm-abi.md, "Peer regions") ---
//
//   +-----------------------+-----------+---------------------------+-------------------------------+
//   | PeerQueue[2][queues]  | PeerHolds | PassageEnd[passages][2]   | ring[passages][2] of bytes    |
//   +-----------------------+-----------+---------------------------+-------------------------------+
//
// One sealed memfd, mapped by both clients and the server, all of it writable by both clients: neither believes the other. Who may use which
// passage, and when, is told by SocketShared only, which the other client cannot write. [side]: of the client whose end it is.
inline constexpr uint32_t kPassages = 128;             // connections of one region
// Ring of one direction; a power of two. It holds more than is copied while a thread wakes up, so that a writer that is woken at two thirds
// has written before the reader runs dry; with less both sleep in turn (docs/performance.md).
inline constexpr uint32_t kPassageBytes = 1024 * 1024;
inline constexpr uint32_t kMaxPeerRegions = 16;        // of one channel
// Numbers of regions that each engine gives: from engine * this on.
constexpr uint32_t peer_regions_of_engine(uint32_t engines) { return kMaxPeerRegions / engines; }

// What an event queue is to the server, this is to the other client: `ready` has a bit for each passage that changed.
struct alignas(64) PeerQueue {
  uint32_t sleeping;   // as EventQueue::sleeping; the other client exchanges it with 0 and writes a byte to the queue's pipe (Op::peer_wake)
  uint32_t reserved;
  uint64_t ready[kPassages / 64];
};
static_assert(sizeof(PeerQueue) == 64);

// Pages of one client that the other one has been sent, and may have mapped in place of its own.
inline constexpr uint32_t kPeerHolds = 64;
struct alignas(kPageSize) PeerHolds {
  uint32_t held[2][kPeerHolds];  // [side of the writer]: the writer stores 1 before it sends; 0, by the reader: it is done with the page
};
static_assert(sizeof(PeerHolds) == kPageSize);

// Bytes of a passage that are not in its ring but where the writer's program has them: in one huge page of a region of its (Op::region).
struct PassageReference {
  uint64_t at;        // the position of the ring that they come in front of
  uint64_t offset;    // in the region
  uint32_t length;    // 1 … what is left of the page
  uint32_t serial;    // counts the regions that have had this number
  uint16_t region;    // 1 … kMaxRegions
  uint16_t hold;      // < kPeerHolds: whose word says when the page is the writer's again
  uint32_t reserved;
};
static_assert(sizeof(PassageReference) == 32);
inline constexpr uint32_t kPassageReferences = 8;  // of one direction, not read yet; a power of two

// One end of a passage. The ring behind it holds what its client writes and the other reads: the byte at position p lies at
// (p - base) % kPassageBytes. A new passage begins with zeroes, but for event_seq, waiters and the references, of which there are none.
struct alignas(64) PassageEnd {
  // --- written by the end's client, as the one that writes ---
  uint64_t produced;           // bytes written to the ring
  uint64_t base;               // position at the ring's start: moved only while the ring is empty, so that small messages stay in the cache
  uint64_t referred;           // bytes in all references so far
  uint32_t references;         // how many (free-running): stored before any byte of the ring behind them is
  // --- and as the one that reads ---
  alignas(64) uint64_t consumed;  // bytes read of the other end's ring
  uint64_t dereferred;         // bytes read of its references
  uint32_t dereferences;       // references that have been read to their end (free-running)
  uint32_t reference_used;     // bytes read of the next one
  uint32_t accepts;            // 1: its program receives into memory whose pages can be exchanged
  uint32_t waiters;            // threads in FUTEX_WAIT on event_seq
  uint32_t wants;              // kWantWrite: tell me when there is room; the other client clears it
  uint32_t watches[kWatches];  // as SocketShared::watches
  // --- raised by the other client with every event; futex ---
  uint32_t event_seq;
  alignas(64) PassageReference reference[kPassageReferences];  // by the writer: the n-th at n % kPassageReferences
};
static_assert(sizeof(PassageEnd) == 128 + 32 * kPassageReferences);

struct ChannelHeader {
  // --- constant after creation, written by the server ---
  uint32_t magic;
  uint32_t version;
  uint32_t header_size;       // sizeof(ChannelHeader)
  uint32_t socket_size;       // sizeof(SocketShared)
  uint32_t max_sockets;
  uint32_t max_queues;
  uint32_t engines;
  uint32_t reserved0;
  uint64_t total_size;        // of the memfd
  uint64_t queues_offset;
  uint64_t sockets_offset;
  uint64_t output_offset, output_size;  // the client allocates in here
  uint64_t input_offset, input_size;    // the server allocates in here

  // --- changing ---
  alignas(64) uint32_t server_idle[kMaxEngines * 16];  // server: [engine * 16] is 1 when it needs a kick (one cache line each)
  alignas(64) SlotBitmap doorbell[kMaxEngines];        // client sets, server takes: "this socket has something for you"
  SpareRing spares[kMaxEngines][2];                    // of an engine: streams, datagrams
};

}  // namespace ferry::ipc::abi
