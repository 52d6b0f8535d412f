/* http_metrics.h - the page of /metrics, in the text format of Prometheus 0.0.4. Any thread. */
#ifndef DGM_RUNTIME_HTTP_METRICS_H
#define DGM_RUNTIME_HTTP_METRICS_H

#include "runtime/http.h"

#include <stdio.h>

void dgm_http_metrics(FILE *f, const dgm_http_config *cfg);

#endif
