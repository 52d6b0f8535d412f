/* A vocabulary map from anybody: lists that keep their promises, or a sentence with the file's name. */
#define _GNU_SOURCE /* memfd_create */
#include "runtime/model.h"
#include "runtime/vmap.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { VOCAB = 6206, EOS = 2 };

static void check_lists(const dgm_vmap *m, const dgm_tokenizer *tok)
{
    DGM_ASSERT(m->n >= 1 && m->n <= dgm_tok_n_langs(tok));
    for (int i = 0; i < m->n; i++) {
        const dgm_vmap_list *l = &m->lists[i];
        int32_t code = -1;
        bool ends = false;
        DGM_ASSERT(i == 0 || l->code > m->lists[i - 1].code);
        DGM_ASSERT(dgm_vmap_find(m, l->code) == l);
        DGM_ASSERT(dgm_tok_lang(tok, &code, dgm_tok_piece(tok, l->code)) == DGM_OK);
        DGM_ASSERT(code == l->code && l->n >= 2 && l->n <= VOCAB);
        for (int k = 0; k < l->n; k++) {
            DGM_ASSERT(l->ids[k] >= 0 && l->ids[k] < VOCAB);
            DGM_ASSERT(k == 0 || l->ids[k] > l->ids[k - 1]);
            ends = ends || l->ids[k] == EOS;
        }
        DGM_ASSERT(ends);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dgm_tokenizer *tok;
    static const dgm_model_config cfg = {.vocab_size = VOCAB, .eos_id = EOS};
    if (tok == NULL &&
        dgm_tokenizer_open(&tok, DGM_SOURCE_DIR "/models/multi30k-token", VOCAB) != DGM_OK) {
        (void)fprintf(stderr, "%s\n", dgm_error_text());
        abort();
    }
    const int fd = memfd_create("fuzz", 0);
    DGM_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
    dgm_vmap *m = NULL;
    const int rc = dgm_vmap_read_fd(&m, fd, "a map", tok, &cfg, NULL);
    (void)close(fd);
    if (rc == DGM_OK)
        check_lists(m, tok);
    else
        DGM_ASSERT(rc == DGM_EINPUT && strncmp(dgm_error_text(), "a map", 5) == 0);
    dgm_vmap_close(m);
    return 0;
}
