/*
 * web.h - a page to try translations by hand, and the JSON behind it (docs/serving.md, "The page").
 *
 * libmicrohttpd with a thread for each of few connections. A request that has to do with the model is asked of the server from
 * within (dgm_server_attach): the page is one client more, with the protocol's limits, tokens and answers. Nothing that another
 * site's page sends is taken: the Host must be an address, not somebody's name, and what is posted must come from this page.
 */
#ifndef DGM_RUNTIME_WEB_H
#define DGM_RUNTIME_WEB_H

#include "runtime/server.h"

typedef struct dgm_web dgm_web;

typedef struct dgm_web_config {
    const char *address; /* HOST:PORT; port 0: any, the log says which */
    bool insecure;       /* beyond loopback is allowed */
    const char *
        page; /* HTML, whose <style> and <script> alone the browser may use; lives until dgm_web_close */
    dgm_server *server;
} dgm_web_config;

/* What a server keeps for it (dgm_server_config.spare_files): sockets of browsers, and both ends of each question. */
enum { DGM_WEB_FILES = 200 };

/* dgm_web_open - answers from now on. DGM_EUSAGE: the address. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_web_open(dgm_web **out, const dgm_web_config *cfg);
/* dgm_web_close - after dgm_server_stop, which ends all waiting, and before dgm_server_close: what is answered is sent, for two
 * seconds at most. */
void dgm_web_close(dgm_web *w);

#endif
