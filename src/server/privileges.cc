#include "server/privileges.h"

#include <cap-ng.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace ferry::server {

std::string find_identity(const std::string& user, const std::string& group, Identity& identity) {
  if (user.empty() && group.empty()) return {};
  if (geteuid() != 0) return "user and group can only be changed when ferryd is started by root";
  identity = {true, geteuid(), getegid()};
  if (!user.empty()) {
    const passwd* p = getpwnam(user.c_str());
    if (p == nullptr) return "there is no user '" + user + "'";
    identity.uid = p->pw_uid;
    identity.gid = p->pw_gid;
  }
  if (!group.empty()) {
    const struct group* g = getgrnam(group.c_str());
    if (g == nullptr) return "there is no group '" + group + "'";
    identity.gid = g->gr_gid;
  }
  return {};
}

std::string drop_privileges(const Identity& identity) {
  capng_clear(CAPNG_SELECT_BOTH);
  if (identity.change) {
    if (capng_change_id(static_cast<int>(identity.uid), static_cast<int>(identity.gid),
                        static_cast<capng_flags_t>(CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING)) != 0)
      return "cannot become user " + std::to_string(identity.uid) + " without privileges";
  } else {
    // The bounding set can be emptied only by who has CAP_SETPCAP; without it there is nothing to lose there but files'
    // capabilities, which PR_SET_NO_NEW_PRIVS makes void.
    capng_get_caps_process();
    bool may_clear_bounding = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) != 0;
    capng_clear(CAPNG_SELECT_BOTH);
    if (capng_apply(may_clear_bounding ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) != 0)
      return "cannot give up capabilities";
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return "cannot set no_new_privs";
  capng_get_caps_process();
  if (capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE) return "capabilities are left that cannot be given up";
  return {};
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  constexpr rlim_t kWanted = 262144;
  if (limit.rlim_max < kWanted) {
    rlimit higher{kWanted, kWanted};
    if (setrlimit(RLIMIT_NOFILE, &higher) == 0) return;  // with CAP_SYS_RESOURCE
  }
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace ferry::server
