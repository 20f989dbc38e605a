// What every part of the hostile client has: dice, the control socket, a channel.
#pragma once

#include <cstdint>
#include <cstring>
#include <iterator>
#include <random>
#include <string>
#include <utility>

#include "ipc/channel_layout.h"
#include "ipc/control_socket.h"
#include "ipc/doorbell.h"

namespace ferry::hostile {

using ipc::control::Op;

class Attacker {
 protected:
  Attacker(std::string path, uint64_t seed) : path_(std::move(path)), dice_(seed) {}

  uint32_t below(uint32_t n) { return static_cast<uint32_t>(dice_() % n); }
  bool one_in(uint32_t n) { return below(n) == 0; }
  // Numbers at which checks go wrong, and others.
  uint64_t number() {
    static constexpr uint64_t kEdges[] = {0, 1, 2, 31, 32, 33, 63, 64, 4095, 4096, 65535, 65536, 0x7fffffff, 0x80000000, 0xffffffff,
                                          0x100000000, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff};
    switch (below(4)) {
      case 0: return dice_();
      case 1: return below(256);
      case 2:  // about where things end
        if (map_.mapped() && one_in(2)) {
          const auto& layout = map_.layout();
          const uint64_t ends[] = {layout.output.offset, layout.output.offset + layout.output.size, layout.total_size, layout.max_sockets,
                                   layout.max_queues, layout.sockets_offset};
          return ends[below(std::size(ends))] + below(129) - 64;
        }
        return map_.layout().output.offset + below(static_cast<uint32_t>(map_.layout().output.size) | 1) - 64;
      default: return kEdges[below(std::size(kEdges))] + below(3) - 1;
    }
  }

  static void set_address(ipc::control::Request& request, uint32_t address, uint16_t port) {
    request.address.ip[10] = request.address.ip[11] = 0xff;
    memcpy(request.address.ip + 12, &address, 4);
    request.address.port = port;
  }

  // False: refused, or thrown out (dead_). The reply is last_.
  bool ask(ipc::control::Request& request, ipc::DescriptorList& fds, const int* sent = nullptr, uint32_t count = 0) {
    request.sequence = ++sequence_;
    ipc::control::Reply reply;
    if (ipc::send_request(control_.get(), request, sent, count) < 0 || ipc::receive_reply(control_.get(), reply, fds) < 0) {
      dead_ = true;
      return false;
    }
    last_ = reply;
    return reply.error == 0;
  }

  void ring(uint32_t slot) { ipc::set_slot(map_.header().doorbell[0], slot); }

  void scribble(void* start, size_t size, uint32_t words) {
    for (uint32_t i = 0; i < words; ++i) {
      const uint64_t value = number();
      memcpy(static_cast<char*>(start) + below(static_cast<uint32_t>(size / 8)) * 8, &value, 8);
    }
  }

  std::string path_;
  std::mt19937_64 dice_;
  ipc::OwnedFd control_;
  ipc::ChannelMap map_;
  ipc::control::Reply last_;
  uint32_t sequence_ = 0;
  bool dead_ = false;
};

}  // namespace ferry::hostile
