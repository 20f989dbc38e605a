// The TCP ports that programs hold by bind(2) or listen(2), over all engines: each stack has a table of its own for its sockets, and
// could not see the others'. Ports of connect(2) are not here: the engines' flows differ anyway.
#pragma once

#include <memory>
#include <mutex>

#include "stack/port_table.h"
#include "stack/stack.h"

namespace ferry::server {

class SharedPorts {
 public:
  // A port held; letting go of it frees it.
  class Claim {
   public:
    ~Claim();
    uint16_t port() const { return binding_.bucket->port; }

   private:
    friend class SharedPorts;
    explicit Claim(SharedPorts& ports) : ports_(ports) {}
    SharedPorts& ports_;
    stack::Binding binding_;
  };
  struct Request {
    stack::Endpoint local;  // port 0: any, beginning the search at a place that `start` decides
    uint32_t start = 0;
    uint32_t uid = 0;
    bool reuse_address = false, reuse_port = false;
  };

  // Errc::address_in_use, no_memory.
  Result<std::unique_ptr<Claim>> claim(const Request& request);
  // listen(2) asks again: Errc::address_in_use.
  Status listen(Claim& claim);

 private:
  std::mutex mutex_;
  stack::PortTable table_{stack::Config().ephemeral_first, stack::Config().ephemeral_last};
};

}  // namespace ferry::server
