/* web_guard.h - whether a request comes from the server's own page: from what its headers say. Any thread. */
#ifndef DGM_RUNTIME_WEB_GUARD_H
#define DGM_RUNTIME_WEB_GUARD_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * dgm_web_host - Host: a numeric address, localhost, or `own`, the host that the operator named; with any port, since tunnels have
 * ports of their own. A name of somebody else's that leads here (DNS rebinding) is none of them. NULL: false.
 */
bool dgm_web_host(const char *host, const char *own);

/* dgm_web_origin - Origin is the page that Host served. NULL: false. */
bool dgm_web_origin(const char *origin, const char *host);

/* dgm_web_bearer - what stands behind "Bearer " in Authorization; "": no token, or another scheme. */
const char *dgm_web_bearer(const char *authorization);

/* dgm_web_policy - the Content-Security-Policy of a page: its first <style> and first <script>, by SHA-256, and questions to
 * where it comes from; nothing else. DGM_EINTERNAL: it lacks one of them. */
DGM_MUST_CHECK int dgm_web_policy(char *out, size_t size, const char *page);

#endif
