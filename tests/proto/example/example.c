/* example ADDRESS SRC TGT TEXT: prints the translation. */
#include "proto/client.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    const dgm_wire_answer *answer;
    dgm_client *client;
    if (argc != 5)
        return 2;
    const dgm_client_config config = {.address = argv[1], .name = "example"};
    const dgm_wire_segment segment = {
        .src = argv[2], .tgt = argv[3], .text = argv[4], .text_len = strlen(argv[4])};
    if (dgm_client_create(&client, &config) != DGM_OK) {
        (void)fprintf(stderr, "example: %s\n", dgm_error_text());
        return 1;
    }
    const int rc = dgm_client_call(client, &answer, &segment);
    if (rc == DGM_OK)
        (void)printf("%s\n", answer->n_hyps > 0 ? answer->hyps[0].text : answer->message);
    else
        (void)fprintf(stderr, "example: %s\n", dgm_error_text());
    dgm_client_destroy(client);
    return rc == DGM_OK ? 0 : 1;
}
