// libferry in this process: start, configuration, what it inherited.
#pragma once

#include "client/address.h"

namespace ferry::preload {

// Prepares everything on first use; runs as a constructor, or earlier when another library's constructor calls us first.
// True: sockets of this process are Ferry's (always, once libferry is loaded; false only while starting).
bool start_process();

// Logs why no Ferry socket could be opened; each reason once.
void report_open_failure(int error);

}  // namespace ferry::preload
