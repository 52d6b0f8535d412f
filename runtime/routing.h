/*
 * routing.h - which experts a row has in the MoE layers of a stack, by its routing kind (config.json):
 *
 *   token     by the row itself, through the layer's router; the default
 *   sentence  by one vector for all rows of a sentence, through the same router: in the encoder the mean of its rows (f32 sum
 *             in token order, divided once), in the decoder the mean of what the encoder put out
 *   task      by the target language or the direction: a row of logits for each task, ffn.router.task.weight [tasks, experts]
 *   static    by the task too, but given by hand: one or two experts, which weigh the same
 *
 * Keys: encoder_routing, decoder_routing; routing_task "target" or "pair"; routing_tasks, the tasks in the order of their rows,
 * "deu_Latn" or "eng_Latn-deu_Latn"; routing_static {"encoder" or "decoder": {task: [[expert, expert], ...]}}, a list
 * for each MoE layer of the stack. routing_gates true: experts given by hand weigh what ffn.router.gates [2 * tasks] says, and
 * a layer has those alone that its tasks use (of an extracted model, docs/adr/0018). Source: arXiv 2110.03742, sections 3.1 and 3.2.
 */
#ifndef DGM_RUNTIME_ROUTING_H
#define DGM_RUNTIME_ROUTING_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dgm_json;
struct dgm_model_config;

enum dgm_routing { DGM_BY_TOKEN, DGM_BY_SENTENCE, DGM_BY_TASK, DGM_BY_HAND };

/* dgm_routing_name - "token", "sentence", "task", "static". */
const char *dgm_routing_name(enum dgm_routing r);

/* dgm_routing_by_task - rows of the stack need a task. */
static inline bool dgm_routing_by_task(enum dgm_routing r)
{
    return r == DGM_BY_TASK || r == DGM_BY_HAND;
}

/* dgm_routing_kinds - the kinds of config.json into c->routing, c->routing_pairs and c->n_tasks. DGM_EMODEL. */
DGM_MUST_CHECK int dgm_routing_kinds(struct dgm_model_config *c, const struct dgm_json *j);

enum { DGM_TASK_NAME = 48 };

/* The tasks of a model; n 0: no stack is routed by them. */
typedef struct dgm_tasks {
    int n;
    bool pairs;                  /* source-target, else target */
    char (*name)[DGM_TASK_NAME]; /* [n], in the order of the tables' rows */
    int16_t (*by_hand[2])
        [2]; /* [n, MoE layers of the stack]; the second -1: one expert; NULL: not static */
    int n_layers[2];
} dgm_tasks;

/* dgm_tasks_read - of a model whose kinds are known. moe_layers: how many each stack has. DGM_EMODEL, DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_tasks_read(dgm_tasks *t, const struct dgm_model_config *c,
                                  const int *moe_layers, const struct dgm_json *j);
void dgm_tasks_fini(dgm_tasks *t);

/* dgm_tasks_use - a task has the expert by hand in MoE layer `layer`, counted in the stack. */
bool dgm_tasks_use(const dgm_tasks *t, int stack, int layer, int expert);

/* dgm_tasks_find - *task: the row of a direction; 0 where the model has no tasks. DGM_EUSAGE names those that there are. */
DGM_MUST_CHECK int dgm_tasks_find(int *task, const dgm_tasks *t, const char *source,
                                  const char *target);

#endif
