// An epoll set that may hold Ferry sockets beside kernel descriptors. The program's epoll descriptor stays a real kernel epoll
// instance E, which holds the kernel descriptors with the program's own data and, as soon as the set has a Ferry socket, the event
// queue's descriptor; so it can be waited for by whatever waits for E. Ferry's registrations are kept here.
//
//   kernel descriptors ──────────────► E ◄── epoll_wait sleeps here
//   event queue (client/event_queue.h) ┘ ▲
//   nested sets, twin listeners ─────────┘ with a marker of ours instead of the program's data
//
// Semantics are epoll(7)'s: a registration on the ready list is evaluated; level-triggered ones stay on the list while they are
// ready, edge-triggered ones leave it, one-shot ones are disarmed.
//
// After fork a set with Ferry sockets becomes private to the process that uses it: the child replaces E by a copy at first use
// (docs/compatibility.md). Sets of kernel descriptors only remain shared, as in the kernel.
#pragma once

#include <signal.h>
#include <sys/epoll.h>
#include <time.h>

#include <memory>
#include <unordered_map>
#include <vector>

#include "client/event_queue.h"
#include "client/mutex.h"
#include "client/process.h"
#include "preload/open_file.h"

namespace ferry::preload {

class SocketFile;

class EpollSet final : public OpenFile {
 public:
  // A set around a fresh kernel epoll instance, with one reference for the caller. Null when out of memory.
  static FileRef<EpollSet> create();

  // epoll_ctl(2). `epfd` is the number the program used. 0 or -errno.
  int control(int epfd, int op, int fd, epoll_event* event);
  // The libc function that the program waits by, with epoll_pwait2's arguments. The kernel is asked by no other: a seccomp filter of the program's
  // may know none.
  using Call = int (*)(int epfd, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask);
  // epoll_pwait2(2). Number of events, or -errno.
  int wait(Call call, int epfd, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask);

  // Ferry's part of "is the set readable", for poll and nesting; and sleeping on E, from outside: as EventQueue's.
  bool has_ready(int epfd);
  // The same with the kernel's part, without what only wakes threads. Asks the kernel.
  bool is_readable(int epfd);
  bool prepare_sleep(int epfd, client::EventQueue::Sleep& sleep);
  void finish_sleep(client::EventQueue::Sleep& sleep);
  // Who was woken and does not take what is ready leaves it to another that sleeps.
  void pass_on();

  // The file's last descriptor was closed.
  void forget(OpenFile& file);
  // The socket's data now goes over its descriptor (kernel mode): the kernel watches K.
  void hand_to_kernel(SocketFile& file);
  // The file's numbers name a kernel socket now (hand-over): the registrations become plain kernel ones.
  void give_away(SocketFile& file);
  // The listener got a twin: watch it too.
  void watch_twin(SocketFile& file);

  // Taken around fork, so that the child finds every set whole.
  static void lock_all();
  static void unlock_all();

 protected:
  void retire() override;

 private:
  struct Registration {
    OpenFile* file = nullptr;  // not counted: forget() comes before it goes
    int fd = -1;
    uint32_t events = 0;
    epoll_data_t data{};
    bool armed = true;         // false: one-shot that has fired
    bool ready = false;        // on the ready list
    bool native = false;       // the kernel watches the descriptor itself
    int twin = -1;             // the twin listener that E watches for us
    // Of a nested set:
    bool counted = false;               // in nested_count_
    uint32_t seen = 0;                  // its news_ when it was last reported
    client::EventQueue::Sleep sleep{};  // that of all threads that sleep on this one
    Registration* next = nullptr;
    Registration* previous = nullptr;

    // What the kernel is asked for where it watches the descriptor.
    uint32_t kernel_events() const { return armed ? events : events & (EPOLLET | EPOLLONESHOT); }
  };

  // A slot that the server has reported, and when that event was.
  struct Event {
    uint32_t time;
    uint32_t slot;
  };

  EpollSet() : OpenFile(FileKind::epoll) {}
  SocketFile* socket_of(const Registration& r) const;
  EpollSet& set_of(const Registration& r) const { return *static_cast<EpollSet*>(r.file); }

  // --- all of these under mutex_ ---
  int add(int epfd, int fd, FileRef<> file, const epoll_event& event);
  int modify(int epfd, Registration& r, const epoll_event& event);
  void remove(int epfd, Registration& r, bool closed = false);
  int start_watching(int epfd, Registration& r);
  int add_below(int epfd, Registration& r);
  int open_queue(int epfd);
  int make_current(int epfd);
  int number() const;
  int make_private(int epfd);
  bool is_inherited() const { return token_ != client::process_token(); }
  bool has_private_below();
  bool announce(client::EventQueue::Sleep& sleep);
  void look_below();
  bool has_news(Registration& r);
  bool resume_below(Registration& r);
  void stop_sleep_below(Registration& r);
  void settle_below(Registration& r);
  void settle();
  void drain();
  bool find_ready(int epfd);
  void wake_sleepers();
  bool raise_alarm();
  void drop_alarm();
  void go_native(int epfd, Registration& r);
  void enlist(Registration& r);
  void put_back(Registration& r);
  void unlist(Registration& r);
  Registration* at_slot(uint32_t slot);
  void collect();
  uint32_t evaluate(int epfd, Registration& r);
  int harvest(int epfd, epoll_event* events, int capacity);

  // Drops our markers from what the kernel reported; returns how many are left.
  int filter(epoll_event* events, int count);
  int poll_kernel(Call call, int epfd, epoll_event* events, int capacity);
  int sleep_announced(Call call, int epfd, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask, bool& quiet);
  bool may_spin() const;

  client::Mutex mutex_;
  uint32_t token_ = 0;  // process_token() of the process that E belongs to
  int last_number_ = -1;  // by which it was used last
  client::EventQueue queue_;  // counts who sleeps on the set, also while it is not open
  std::unordered_map<int, std::unique_ptr<Registration>> registrations_;  // by descriptor number
  std::unordered_map<int, epoll_event> kernel_;                           // what the kernel watches for the program
  std::vector<Registration*> by_slot_;                                    // a hint, checked before use
  Registration* ready_head_ = nullptr;
  Registration* ready_tail_ = nullptr;
  uint32_t ready_count_ = 0;
  uint32_t news_ = 0;             // counts what has come to the ready list
  std::vector<Event> reported_;   // of collect(), kept for its memory
  uint32_t kernel_sources_ = 0;   // native, twin and nested registrations
  uint32_t nested_count_ = 0;
  int alarm_ = -1;                // an eventfd in E by which a thread wakes another; atomic
  uint32_t alarm_process_ = 0;    // process_token() of who made it
  uint32_t since_kernel_ = 0;     // harvests since the kernel was last asked
  bool kernel_busy_ = false;      // it had something then: ask it every time
  EpollSet* next_free_ = nullptr;
  EpollSet* next_of_all_ = nullptr;
};

// The epoll set that `fd` names, or null.
FileRef<EpollSet> epoll_set_of(int fd);

}  // namespace ferry::preload
