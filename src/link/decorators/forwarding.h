// Base of the decorators: a link that hands every call on to the one inside, which it owns.
#pragma once

#include <memory>
#include <utility>

#include "link/link.h"

namespace ferry::link {

// `Interface` is Link or an extension of it.
template <typename Interface>
class Forwarding : public Interface {
 public:
  explicit Forwarding(std::unique_ptr<Link> inner) : inner_(std::move(inner)) {}

  const Capabilities& capabilities() const override { return inner_->capabilities(); }
  Status send(const buf::Packet& packet, const buf::Memory& memory) override { return inner_->send(packet, memory); }
  void flush() override { inner_->flush(); }
  uint32_t receive(FrameSink& sink, uint32_t budget) override { return inner_->receive(sink, budget); }
  int poll_fd() const override { return inner_->poll_fd(); }
  bool wants_write() const override { return inner_->wants_write(); }
  const std::string& name() const override { return inner_->name(); }
  const Counters& counters() const override { return inner_->counters(); }
  void advance(Instant now) override { inner_->advance(now); }
  Instant next_deadline() const override { return inner_->next_deadline(); }
  bool set_placer(PayloadPlacer* placer) override { return inner_->set_placer(placer); }

 protected:
  Link& inner() { return *inner_; }
  const Link& inner() const { return *inner_; }

 private:
  std::unique_ptr<Link> inner_;
};

}  // namespace ferry::link
