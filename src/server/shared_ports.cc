#include "server/shared_ports.h"

namespace ferry::server {

SharedPorts::Claim::~Claim() {
  std::lock_guard guard(ports_.mutex_);
  ports_.table_.release(binding_);
}

Result<std::unique_ptr<SharedPorts::Claim>> SharedPorts::claim(const Request& request) {
  std::unique_ptr<Claim> claim(new Claim(*this));
  stack::Binding& b = claim->binding_;
  b.bound_address = request.local.address;
  b.uid = request.uid;
  b.reuse_address = request.reuse_address;
  b.reuse_port = request.reuse_port;
  {
    std::lock_guard guard(mutex_);
    if (request.local.port == 0) {
      if (auto port = table_.bind_ephemeral(b, request.start); !port) return port.error();
    } else {
      FERRY_TRY(table_.bind(b, request.local.port));
    }
  }
  return claim;
}

Status SharedPorts::listen(Claim& claim) {
  std::lock_guard guard(mutex_);
  table_.set_listening(claim.binding_, true);
  if (!table_.conflicts(claim.binding_)) return {};
  table_.set_listening(claim.binding_, false);
  return Errc::address_in_use;
}

}  // namespace ferry::server
