#include "server/foreign.h"

#ifdef FERRY_LWIP
#include "foreign/lwip_server.h"
#endif
#ifdef FERRY_USRSCTP
#include "foreign/usrsctp_server.h"
#endif

namespace ferry::server {
namespace {

template <typename Server>
class Holder final : public ForeignServer {
 public:
  explicit Holder(std::unique_ptr<Server> server) : server_(std::move(server)) {}
  stack::ProtocolServer& server() override { return *server_; }

 private:
  std::unique_ptr<Server> server_;
};

template <typename Server>
std::unique_ptr<ForeignServer> make_foreign() {
  auto server = Server::create();
  if (!server) return nullptr;
  return std::make_unique<Holder<Server>>(std::move(*server));
}

#ifdef FERRY_LWIP
constexpr auto kMakeLwip = make_foreign<foreign::LwipServer>;
#else
constexpr std::unique_ptr<ForeignServer> (*kMakeLwip)() = nullptr;
#endif
#ifdef FERRY_USRSCTP
constexpr auto kMakeUsrsctp = make_foreign<foreign::UsrsctpServer>;
#else
constexpr std::unique_ptr<ForeignServer> (*kMakeUsrsctp)() = nullptr;
#endif

}  // namespace

const std::vector<ForeignKind>& foreign_kinds() {
  static const std::vector<ForeignKind> kinds = {
      {"tcp=lwip", true, false, kMakeLwip},
      {"sctp=usrsctp", false, true, kMakeUsrsctp},
  };
  return kinds;
}

const ForeignKind* find_foreign(const std::string& name) {
  for (const ForeignKind& kind : foreign_kinds())
    if (name == kind.name) return &kind;
  return nullptr;
}

}  // namespace ferry::server
