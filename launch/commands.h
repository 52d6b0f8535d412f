/* commands.h - one function a command; each returns the exit code of the process (docs/exit-codes.md). */
#ifndef DGM_LAUNCH_COMMANDS_H
#define DGM_LAUNCH_COMMANDS_H

#include "launch/options.h"

/* dgm_command_end - how they end: rc OK, or its sentence is said. The exit code. */
int dgm_command_end(int rc);

int dgm_cmd_translate(const dgm_options *o);
int dgm_cmd_score(const dgm_options *o);
int dgm_cmd_score_text(const dgm_options *o);
int dgm_cmd_tokenize(const dgm_options *o);
int dgm_cmd_detokenize(const dgm_options *o);
int dgm_cmd_languages(const dgm_options *o);
int dgm_cmd_inspect(const dgm_options *o);
int dgm_cmd_quantize(const dgm_options *o);
int dgm_cmd_bench(const dgm_options *o); /* args[0]: kernels, exchange, ... */
/* dgm_cmd_bench_check - there is such a kind, and it has all options that were given as flags, so that none is passed over; before
 * dgm_cmd_bench. DGM_EUSAGE. dgm_cmd_bench_alone - it is rank 0's alone. */
DGM_MUST_CHECK int dgm_cmd_bench_check(const dgm_options *o);
bool dgm_cmd_bench_alone(const dgm_options *o);
int dgm_cmd_prune(const dgm_options *o);
int dgm_cmd_stats(const dgm_options *o);
int dgm_cmd_atlas(const dgm_options *o);
int dgm_cmd_synth(const dgm_options *o);
int dgm_cmd_sparsify(const dgm_options *o);
int dgm_cmd_extract(const dgm_options *o);
int dgm_cmd_client(const dgm_options *o);
int dgm_cmd_serve(const dgm_options *o);

#endif
