// The program on an interface that decides which frames come to Ferry's AF_XDP sockets and which go on to the kernel, as if Ferry were
// not there (bpf(2), linux/bpf.h, Documentation/networking/af_xdp.rst). Written down as instructions: no compiler at run time.
//
//   for Ferry's MAC address, or ARP about Ferry's IPv4 address  -->  the socket of the frame's receive queue
//   everything else, and queues without a socket                -->  the kernel
//
// A frame cannot go to both: other broadcasts and multicast are the kernel's. The attachment is a bpf link: the kernel takes the program off
// when ferryd ends, however it ends.
#pragma once

#include <cstdint>
#include <string>

#include "link/fd.h"
#include "link/interface.h"

namespace ferry::link {

// The sentence for a step of setting up an xdp link that failed with errno: "cannot WHAT: …".
std::string explain_xdp(const std::string& what);

class XdpFilter {
 public:
  struct Rules {
    wire::MacAddress mac;
    wire::Ipv4Address address;   // unspecified: no ARP by broadcast
    bool all_frames = false;     // take everything
    bool large_frames = false;   // frames of more than a page (Linux 5.18)
  };

  // Loads the program, which serves no queue and no interface yet.
  static Outcome<XdpFilter> load(const Rules& rules, uint32_t queues);
  // Frames of the interface's receive queue `queue` go to this socket from now on.
  bool serve(uint32_t queue, int socket);
  // Attaches: in the driver where that is possible, else in front of the kernel's stack. Empty: done; else a sentence.
  std::string attach(const Interface& interface);
  bool in_driver() const { return in_driver_; }

 private:
  XdpFilter(Fd map, Fd program) : map_(std::move(map)), program_(std::move(program)) {}
  Fd map_, program_, link_;
  bool in_driver_ = false;
};

}  // namespace ferry::link
