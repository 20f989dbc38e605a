// The engines of one ferryd: event loops that share nothing but what is here. Each has a thread, a stack, a link, its part of every client's
// channel, and the TCP flows that the link gives it (wire/flow_share.h). Number 0 has everything else: the listening control socket,
// UDP, ICMP, ARP, the ferry command.
//
//   client ──control──> engine 0: hello, UDP; Op::engine makes a connection to another one
//          ──control──> engine n: the sockets that it opens there
//   engine 0 ──frames of interest to all (ARP, ICMP errors, fragments of TCP)──> the others
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "link/pcapng_blocks.h"
#include "server/frame_passing.h"
#include "server/inbox.h"
#include "server/shared_ports.h"

namespace ferry::server {

class Engines {
 public:
  // Before any thread runs; in the order of their numbers.
  void add(Inbox& inbox) { inboxes_.push_back(&inbox); }
  uint32_t count() const { return static_cast<uint32_t>(inboxes_.size()); }

  // Any thread: the task will run on that engine's.
  template <typename F>
  void post(uint32_t engine, F task) {
    inboxes_[engine]->post(std::move(task));
  }
  template <typename F>
  void post_to_others(uint32_t self, const F& task) {
    for (uint32_t i = 0; i < count(); ++i)
      if (i != self) inboxes_[i]->post(task);
  }

  // Every other engine does `work(engine)`; when all have, this one does `done(engine)`.
  template <typename Work, typename Done>
  void ask_others(uint32_t self, const Work& work, Done done) {
    struct Round {
      Done done;
      uint32_t left;  // atomic
    };
    auto round = std::make_shared<Round>(Round{std::move(done), count() - 1});
    post_to_others(self, [this, self, work, round](Engine& engine) {
      work(engine);
      if (atomic_add(round->left, ~0u) == 1) post(self, [round](Engine& asker) { round->done(asker); });
    });
  }

  // A frame for another engine's stack, copied. False: too many are on their way, it is lost.
  bool pass_frame(uint32_t to, stack::LinkIndex link, const buf::Frame& frame);

  // A frame for the captures of the first engine. False: as above.
  bool show_frame(link::Direction direction, std::vector<std::byte> frame);

  SharedPorts& ports() { return ports_; }
  StrayFlows& strays() { return strays_; }

 private:
  static constexpr uint32_t kMostPassing = 4096;
  // Posts `task`, unless too many frames are on their way.
  template <typename F>
  bool post_frame(uint32_t to, F task);
  std::vector<Inbox*> inboxes_;
  SharedPorts ports_;
  StrayFlows strays_;
  uint32_t passing_ = 0;  // frames; atomic
};

}  // namespace ferry::server
