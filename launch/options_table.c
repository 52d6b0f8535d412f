/* The option table: one row is everything there is to say of an option. docs/config.md is printed from it. */
#include "launch/options_table.h"

#include <stddef.h>

/* Which commands take an option. */
enum {
    T = 1u << DGM_COMMAND_TRANSLATE,
    S = 1u << DGM_COMMAND_SCORE,
    X = 1u << DGM_COMMAND_SCORE_TEXT,
    K = 1u << DGM_COMMAND_TOKENIZE,
    D = 1u << DGM_COMMAND_DETOKENIZE,
    L = 1u << DGM_COMMAND_LANGUAGES,
    I = 1u << DGM_COMMAND_INSPECT,
    B = 1u << DGM_COMMAND_BENCH,
    Q = 1u << DGM_COMMAND_QUANTIZE,
    Y = 1u << DGM_COMMAND_SYNTH,
    G = 1u << DGM_COMMAND_STATS,
    P = 1u << DGM_COMMAND_PRUNE,
    A = 1u << DGM_COMMAND_ATLAS,
    E = 1u << DGM_COMMAND_EXTRACT,
    W = 1u << DGM_COMMAND_SPARSIFY,
    C = 1u << DGM_COMMAND_CLIENT,
    V = 1u << DGM_COMMAND_SERVE,
    ALL = T | S | X | K | D | L | I | B | Q | Y | G | P | A | E | W | C | V,
};

enum {
    NONE = 0,
    RESULT = DGM_OPT_RESULT | DGM_OPT_JOB,
    JOB = DGM_OPT_JOB,
    HERE = DGM_OPT_NOT_IN_FILE,
    LIST = DGM_OPT_LIST,
};

static const char model_group[] = "Model and ranks", text_group[] = "Text in",
                  output_group[] = "Text out", decode_group[] = "Decoding",
                  batch_group[] = "Batching", look_group[] = "What to show",
                  compress_group[] = "Compression", sparsify_group[] = "Weights that become zero",
                  prune_group[] = "Experts by language", shape_group[] = "Synthetic models",
                  client_group[] = "Client", serve_group[] = "Serving", general_group[] = "General";

#define AT(field) offsetof(dgm_options, field)
#define TEXT(key, letter, group, field, preset, unit, commands, flags, help, risk)                 \
    {                                                                                              \
        key, letter, group, DGM_OPT_TEXT, AT(field), preset, 0, 0, NULL, unit, commands, flags,    \
            help, risk                                                                             \
    }
#define CHOICE(key, group, field, preset, choices, commands, flags, help, risk)                    \
    {                                                                                              \
        key, 0, group, DGM_OPT_CHOICE, AT(field), preset, 0, 0, choices, "WHICH", commands, flags, \
            help, risk                                                                             \
    }
#define SWITCH(key, letter, group, field, commands, flags, help, risk)                             \
    {                                                                                              \
        key, letter, group, DGM_OPT_BOOL, AT(field), "false", 0, 0, NULL, "", commands, flags,     \
            help, risk                                                                             \
    }
#define INT(key, letter, group, field, preset, min, max, unit, commands, flags, help, risk)        \
    {                                                                                              \
        key, letter, group, DGM_OPT_INT, AT(field), preset, min, max, NULL, unit, commands, flags, \
            help, risk                                                                             \
    }
#define REAL(key, group, field, preset, min, max, commands, help, risk)                            \
    {                                                                                              \
        key, 0, group, DGM_OPT_FLOAT, AT(field), preset, min, max, NULL, "X", commands, RESULT,    \
            help, risk                                                                             \
    }
#define SHARE(key, group, field, preset, min, max, help)                                           \
    {                                                                                              \
        key, 0, group, DGM_OPT_FLOAT, AT(field), preset, min, max, NULL, "X", W, NONE, help, NULL  \
    }
#define SHAPE(key, field, max, help)                                                               \
    {                                                                                              \
        key, 0, shape_group, DGM_OPT_INT, AT(field), "0", 0, max, NULL, "N", Y, NONE, help, NULL   \
    }

const dgm_opt dgm_option_rows[] = {
    /* Model and ranks */
    TEXT("model", 'm', model_group, model, "", "DIR",
         T | S | X | K | D | L | I | Q | B | G | P | A | E | W | V, NONE,
         "model directory as downloaded from Hugging Face; without it the demonstration model that "
         "comes with dragoman",
         NULL),
    CHOICE("comm", model_group, comm, "auto", "auto|local|mpi", T | S | B | G | P | V, NONE,
           "how ranks talk: local is one process, mpi needs mpirun or srun, auto asks the "
           "environment",
           "`local` under mpirun starts N copies that all do the same work"),
    INT("threads", 0, model_group, threads, "0", 0, 1024, "N", T | S | B | Q | Y | G | P | W | V,
        NONE, "threads of each rank; 0: the CPUs that it may use, shared among the ranks on them",
        "More threads than CPUs make every step wait for the slowest"),
    CHOICE("isa", model_group, isa, "auto", "auto|ref|avx2|avx512|vnni",
           T | S | B | Q | G | P | W | V, NONE,
           "instruction set; the text is the same with any, auto takes the best that all ranks "
           "have",
           "`ref` is plain C, some ten times slower"),
    CHOICE("device", model_group, device, "cpu", "cpu|cuda", T | S | B | G | P | V, NONE,
           "where experts run: cuda puts those of each rank into the memory of a GPU, one GPU a "
           "rank; the text is the same with either",
           "A GPU pays for wide experts; small models are faster on the CPU"),
    TEXT("dense-ranks", 0, model_group, dense_ranks, "all", "all|N", T | S | G | P | V, JOB,
         "ranks that hold dense weights and translate sentences; the others hold experts only",
         "Few dense ranks leave the others waiting"),
    CHOICE("task-ranks", model_group, task_ranks, "all", "all|split", T | S | B | G, JOB,
           "which ranks translate into a language, where the model is routed by task: all, each "
           "with the experts of all languages of the job; or split: as many for each language, "
           "with the experts of their own languages alone",
           "Split holds and reads less, encodes a line once for each of several targets, and "
           "leaves ranks idle when languages come one after the other"),
    CHOICE("compute", model_group, compute, "auto", "auto|f32|int8", T | S | B | Q | G | P | V,
           RESULT,
           "arithmetic of the products with integer weights: f32, or int8 with each row of "
           "activations rounded too; auto as the model says, else f32; quantize writes it into the "
           "model",
           "int8 is faster and loses a little more"),
    CHOICE("verify", model_group, verify_when, "first-use", "first-use|open|never", T | S | P | V,
           NONE,
           "when the checksums of a packed model are compared: each expert before its first token, "
           "everything before the first line, or never",
           "never lets a damaged file translate"),
    CHOICE("kv", model_group, kv, "f32", "f32|bf16", T | S | B | G | P | V, RESULT,
           "type of the attention cache: bf16 takes half the memory and bandwidth, and rounds",
           "Another type gives another text now and then"),
    SWITCH("dropless", 0, model_group, dropless, T | S | G | P | V, RESULT,
           "accept a model whose configuration drops tokens by batch, and never drop any",
           "The model was trained to expect drops, quality may differ"),
    CHOICE(
        "overlap", model_group, overlap, "auto", "auto|on|off", T | S | B | P | V, JOB,
        "run each step in two halves, so that the rows of one travel between ranks while the "
        "other computes; auto tries both ways on some steps when ranks are on several hosts, and "
        "keeps the faster",
        "On a fast network it costs time: weights are read twice"),
    TEXT("keep", 'k', model_group, keep, "", "FILE", T | S | G | P | I | A | V, RESULT,
         "experts that each language keeps, as dragoman prune writes them; others are not loaded; "
         "inspect, atlas: what such a file keeps",
         "Fewer experts cost quality: dragoman score-text measures it"),
    CHOICE("keep-missing", model_group, keep_missing, "error", "error|exact", T | S | G | P | V,
           RESULT, "a language that the keep file does not list: an error, or all experts", NULL),
    INT("comm-stall-ms", 0, model_group, stall_ms, "2000", 10, 3600000, "MS", T | S | B | G | P | V,
        JOB, "warn when a rank gave no sign of life for so long", NULL),
    INT("comm-deadline-ms", 0, model_group, deadline_ms, "60000", 100, 86400000, "MS",
        T | S | B | G | P | V, JOB,
        "give a rank up, and end the job with exit code 6, after so long",
        "Shorter than the slowest step ends healthy jobs"),

    /* Text in */
    TEXT("src-lang", 's', text_group, src_lang, "", "CODE", T | S | K | G | P | C, RESULT | LIST,
         "language of the input: eng_Latn, or an alias such as en (dragoman languages); "
         "stats and prune take several: the n-th -s, -t, -i and --reference belong together",
         "Naming another language than the text's gives fluent nonsense"),
    TEXT("tgt-lang", 't', text_group, tgt_lang, "", "CODE,..", T | S | G | P | E | C, RESULT | LIST,
         "language of the output; translate and client take several, separated by commas, and "
         "translate encodes each line once; extract: tasks as inspect lists them, languages or "
         "directions such as "
         "eng_Latn-deu_Latn",
         NULL),
    TEXT("input", 'i', text_group, input, "", "FILE", T | S | K | D | G | P | C, LIST,
         "text to read, one sentence a line; without it standard input", NULL),
    TEXT("reference", 0, text_group, reference, "", "FILE", S | G | P, LIST,
         "translations to score, line by line beside the input", NULL),
    TEXT("target-prefix", 0, text_group, target_prefix, "", "FILE", T | C, NONE,
         "beginnings that the translations must have, line by line beside the input", NULL),
    CHOICE("split", text_group, split, "auto", "auto|always|never", T | P | V | C, RESULT,
           "cut a line at sentence ends, translate the parts and join them: auto only what is too "
           "long for the model, always every line that holds several sentences",
           "NLLB tends to leave sentences out of lines that hold several"),
    INT("max-input-length", 0, text_group, max_input_length, "0", 0, 1000000, "N",
        T | S | G | P | V, RESULT,
        "longest source in tokens, language code and </s> counted; longer is split or refused; 0: "
        "as the model says",
        NULL),
    CHOICE("source-order", text_group, source_order, "auto", "auto|prefix|suffix",
           T | S | K | G | P | V, RESULT,
           "where the source code stands: prefix `code text </s>`, suffix `text </s> code` (older "
           "checkpoints); auto asks the model",
           "The wrong order costs quality without any message"),
    SWITCH("strict", 0, text_group, strict, T | S | K | D | G | C, NONE,
           "stop at the first line that cannot be done, with exit code 4", NULL),

    /* Text out */
    TEXT("output", 'o', output_group, output, "", "FILE",
         T | S | K | D | Q | Y | G | P | A | E | W | C, NONE,
         "file to write; without it standard output; translate and client write FILE.part and "
         "rename it, go on where they were stopped, and take {lang} in the name for one file a "
         "target; quantize, synth, prune, extract and sparsify make a directory, which must not be "
         "there yet",
         NULL),
    CHOICE("format", output_group, format, "plain", "plain|marian", T | C, RESULT,
           "plain `text` or `score ||| text`; marian `line ||| text ||| score`", NULL),
    INT("n-best", 0, output_group, n_best, "1", 1, 128, "N", T | C, RESULT,
        "write the N best translations of each line, N lines for one",
        "Needs --beam-size N or more"),
    SWITCH("with-score", 0, output_group, with_score, T | C, RESULT, "write `score ||| text`",
           NULL),
    SWITCH("token-scores", 0, output_group, token_scores, T | S | C, RESULT,
           "append `piece:log p` for each token", NULL),
    SWITCH("alignment", 0, output_group, alignment, T | C, RESULT,
           "append ` ||| 0-0 1-2`: which word of the line each word of the output looked at",
           "Read from attention: a hint, not a linguist"),
    TEXT("report", 0, output_group, report, "", "FILE", T | S | G | C, NONE,
         "write one JSON object a line: status, tokens, score, seconds", NULL),
    TEXT("record-stats", 0, output_group, record_stats, "", "FILE", T | S, JOB,
         "write there which experts the tokens of this run preferred, as stats does",
         "Lines that were there already when a run goes on are not counted"),
    SWITCH("merge", 0, output_group, merge, G, NONE, "stats: FILE... of statistics become one",
           NULL),

    /* Decoding */
    INT("beam-size", 0, decode_group, beam_size, "4", 1, 128, "N", T | G | P | V | C, RESULT,
        "hypotheses kept a line; 1 is greedy", "Time and memory grow with it"),
    REAL("length-penalty", decode_group, length_penalty, "1", -10, 10, T | P | V | C,
         "score = sum of log p / length^X", "Far above 1 the beam prefers rambling"),
    INT("max-length", 0, decode_group, max_length, "0", 0, 1000000, "N", T | G | P | V | C, RESULT,
        "longest translation in tokens, start token and language code counted; 0: as the model "
        "says",
        "What is cut there is flagged as truncated"),
    INT("min-length", 0, decode_group, min_length, "0", 0, 1000000, "N", T | P | V | C, RESULT,
        "shortest translation, counted alike", NULL),
    INT("no-repeat-ngram-size", 0, decode_group, no_repeat_ngram_size, "0", 0, 1000000, "N",
        T | P | V | C, RESULT, "never repeat N tokens in a row; 0: off",
        "Below 3 it forbids ordinary grammar"),
    REAL("repetition-penalty", decode_group, repetition_penalty, "1", 0.01, 100, T | P | V | C,
         "above 1 tokens that were used are worth less",
         "It discourages </s> too, as in Hugging Face: see --penalty-skip-special"),
    SWITCH("penalty-skip-special", 0, decode_group, penalty_skip_special, T | P | V | C, RESULT,
           "leave </s> and language codes out of the repetition penalty", NULL),
    SWITCH("early-stopping", 0, decode_group, early_stopping, T | P | V | C, RESULT,
           "stop a line as soon as beam-size hypotheses have ended", NULL),
    INT("sampling-topk", 0, decode_group, sampling_topk, "0", 0, 1000000, "N", T | V | C, RESULT,
        "draw each token among the N best instead of taking the best; 0: off", NULL),
    REAL("sampling-topp", decode_group, sampling_topp, "1", 0.000001, 1, T | V | C,
         "draw among the best that together have probability X", NULL),
    REAL("temperature", decode_group, temperature, "1", 0.001, 1000, T | V | C,
         "draw with logits divided by X; any of these three makes beam-size 1 the default", NULL),
    {"seed", 0, decode_group, DGM_OPT_U64, AT(seed), "0", 0, 0, NULL, "N", T | Y | P | W | V | C,
     RESULT,
     "of sampling: the same seed gives the same text on any number of ranks; of synth: the same "
     "seed and shape give the same bytes; of prune --evaluate, --sweep and --max-loss: of their "
     "resamples; of sparsify: of the lines that are drawn",
     NULL},
    TEXT("vmap", 0, decode_group, vmap, "", "FILE", T, NONE,
         "choose a language's tokens only among the pieces that FILE lists for it, lines of "
         "`CODE<TAB>piece piece ...`; faster, and no other script",
         "What is not listed cannot be written: list rare pieces, digits and names too"),
    CHOICE("retry", decode_group, retry, "none", "none|checks", T | V | C, RESULT,
           "checks: decode a line once more, with a wider beam and an n-gram block, when a check "
           "strikes its translation (docs/decoding.md), and give the better of both",
           "A line that is decoded twice takes more than twice as long"),

    /* Batching */
    INT("batch-tokens", 0, batch_group, batch_tokens, "0", 0, 16777216, "N", T | S | G | P | V, JOB,
        "most source tokens encoded in a step over all ranks, at least one sentence; 0: 4096 a "
        "rank, fewer where memory is short (the start line says)",
        "The text does not depend on it; small is slow, large needs memory"),
    INT("batch-rows", 0, batch_group, batch_rows, "0", 0, 1048576, "N", T | S | G | P | V, JOB,
        "decoder rows (hypotheses of all lines at once) over all ranks; 0: 512 a rank, fewer "
        "where memory is short",
        "The text does not depend on it; small is slow, large needs memory"),

    /* What to show */
    SWITCH("ids", 0, look_group, ids, K, NONE, "ids instead of pieces", NULL),
    SWITCH("json", 0, look_group, json, X | L | I | B | P, NONE, "JSON for programs", NULL),
    INT("ranks", 'n', look_group, ranks, "1", 1, 65536, "N", I | A, NONE,
        "show what each of N ranks would hold", NULL),
    TEXT("languages", 0, look_group, languages, "", "CODE,..", I, NONE,
         "inspect --keep: of these sets alone", NULL),
    SWITCH("verify", 0, look_group, verify, I, HERE, "read and check every tensor", NULL),

    TEXT("batch", 0, look_group, batch, "1,8,32", "N,..", B, NONE,
         "bench layers, bench pruning, bench routing: sentences at once, one table or line for "
         "each number; bench sparse: rows, 1,2,4,8,16,32 unless given",
         NULL),
    INT("beam", 0, look_group, beam, "4", 1, 128, "N", B, NONE,
        "bench layers, bench pruning: hypotheses kept a sentence", NULL),
    INT("src-tokens", 0, look_group, src_tokens, "32", 3, 65536, "N", B, NONE,
        "bench layers, bench pruning, bench routing: length of every source", NULL),
    INT("tgt-tokens", 0, look_group, tgt_tokens, "32", 3, 65536, "N", B, NONE,
        "bench layers, bench routing: length of every translation", NULL),
    INT("targets", 0, look_group, targets, "1", 1, 256, "N", B, NONE,
        "bench layers, bench pruning, bench routing: how many target languages the sentences have "
        "in turn",
        NULL),
    TEXT("lengths", 0, look_group, lengths, "", "FILE", B, NONE,
         "bench pruning: how many tokens each translation becomes, one number a line", NULL),

    /* Compression */
    TEXT("experts", 0, compress_group, experts, "", "WHICH", Q | Y, NONE,
         "quantize: type of the experts' matrices, int8 (default), int4, bf16 or f32; synth: how "
         "many "
         "each sparse layer has",
         "int4 costs quality: measure it on your text"),
    CHOICE("dense", compress_group, dense, "int8", "int8|bf16|f32", Q | Y, NONE,
           "type of all other matrices, embedding included; routers and vectors stay f32; synth's "
           "default is bf16",
           NULL),
    CHOICE("group", compress_group, group, "none", "none|32|64|128", Q | Y, NONE,
           "inputs that share a scale; none: one scale for each output",
           "Smaller groups lose less and take more room: 32 add an eighth to int8, a quarter to "
           "int4"),
    CHOICE("scale-rule", compress_group, scale_rule, "paper", "paper|127", Q, NONE,
           "scale of the integers: paper is largest / 128 (int4: / 8), as in arXiv 2211.10017; 127 "
           "is largest / 127 (int4: / 7)",
           NULL),
    CHOICE("clip", compress_group, clip, "mse", "none|mse", Q, NONE,
           "mse: make each scale the one of least squared error, which may clip the largest",
           "Takes longer"),
    CHOICE("storage", compress_group, storage, "auto", "auto|dense", Q, NONE,
           "auto: of a sparsified model, matrices that are smaller without their zeros are stored "
           "without; dense: all are stored whole",
           "The bits of what is computed are the same"),
    TEXT("calibration", 0, compress_group, calibration, "", "FILE", Q | W, LIST,
         "quantize: text to run through the model so that integers fit what its matrices see "
         "(GPTQ): lines of `source language, tab, target language, tab, sentence`; sparsify: "
         "LANGUAGE=FILE for each language, as many flags or as many words behind one; the files "
         "are line-parallel, and every ordered pair of languages is run",
         "Text unlike what will be translated helps little"),
    INT("calibration-memory", 0, compress_group, calibration_memory, "0", 0, 1 << 30, "MIB", Q,
        NONE,
        "memory for what --calibration gathers; less of it takes more passes over the text, the "
        "result is the same; 0: half of what the machine has left",
        NULL),

    SWITCH("fold", 0, compress_group, fold, E, NONE,
           "extract: merge the two experts of a task into one dense FFN of twice the width",
           "Logits differ in their last digits: not the bytes of the whole model"),

    /* Weights that become zero */
    CHOICE("method", sparsify_group, method, "wanda", "magnitude|wanda|owl|m-wanda", W, NONE,
           "what a weight is worth: its magnitude; times what enters it (Wanda, arXiv 2306.11695); "
           "that, layers sharing by their outliers (OWL, arXiv 2310.05175); or after M-Wanda "
           "(arXiv 2505.21171), languages apart: the formulas are our own, the paper's were not at "
           "hand",
           NULL),
    SHARE("sparsity", sparsify_group, sparsity, "0.5", 0, 1,
          "part of the weights of attention and feed-forward matrices that becomes zero"),
    CHOICE("pattern", sparsify_group, pattern, "unstructured", "unstructured|2:4|4:8", W, NONE,
           "2:4: of each 4 consecutive inputs of an output 2 go; 4:8 likewise", NULL),
    CHOICE("calibration-target", sparsify_group, calibration_target, "pairs", "pairs|self", W, NONE,
           "self: each language into itself, so that files need not be parallel, and one will do",
           NULL),
    INT("samples", 0, sparsify_group, samples, "128", 0, 100000000, "N", W, NONE,
        "lines of each calibration file that count, drawn by --seed; 0: all", NULL),
    SHARE("lambda", sparsify_group, lambda, "1", 0, 1000,
          "m-wanda: weight of the variance over languages"),
    SHARE("gamma", sparsify_group, gamma, "0", 0, 100,
          "m-wanda: the score is multiplied by this power of the share of tokens at which an input "
          "is above --tau"),
    SHARE("tau", sparsify_group, tau, "0", 0, 1000000, "m-wanda: an input fires where |x| > X"),
    CHOICE("score", sparsify_group, score, "add", "add|mul", W, NONE,
           "m-wanda: |w| (a + lambda sqrt(V)), or |w| a (1 + lambda V / a^2); a is the root mean "
           "square of an input, V the variance of that over languages",
           NULL),
    SHARE("layer-spread", sparsify_group, layer_spread, "0.05", -1, 1,
          "m-wanda: sparsity of the most and the least sparse layer, X apart: where languages have "
          "least in common more is kept, or less with X below 0; 0: all alike"),
    SHARE("owl-m", sparsify_group, owl_m, "5", 0, 1000,
          "owl: an outlier's score is above X times the layer's mean"),
    SHARE("owl-lambda", sparsify_group, owl_lambda, "0.08", 0, 0.5,
          "owl: half the difference between the most and the least sparse layer"),

    /* Experts by language */
    TEXT("stats", 0, prune_group, stats, "", "FILE", P, NONE, "statistics, of dragoman stats",
         NULL),
    TEXT(
        "import", 0, prune_group, import, "", "FILE", P, NONE,
        "instead of statistics: lists of experts as the authors of arXiv 2212.09811 released them, "
        "a JSON object of language codes and ascending numbers over all layers",
        NULL),
    CHOICE(
        "metric", prune_group, metric, "importance", "top1|top2|load|vanilla|importance|gate", P,
        NONE,
        "value of an expert, from its share of first places: alone, with second places, times its "
        "mean weight, times its weight where it is first, times the exponential of that; gate: its "
        "share of the gates of all tokens",
        NULL),
    CHOICE(
        "algorithm", prune_group, algorithm, "fixed",
        "fixed|threshold|stack-thresholds|loss|loss-stacks|loss-layers", P, NONE,
        "as many experts in each layer of a stack; or as many as reach a threshold of value, one "
        "for all layers or one for each stack; loss: experts go whose lack costs the translations "
        "of --reference least, as many in all, in each stack, or in each layer",
        NULL),
    CHOICE("granularity", prune_group, granularity, "language", "language|pair|all", P, NONE,
           "a set for each language (encoder: from it, decoder: into it), for each pair, or one",
           NULL),
    CHOICE("average", prune_group, average, "directions", "directions|tokens", P, NONE,
           "directions weigh alike, or by their tokens", NULL),
    CHOICE("stats-mode", prune_group, stats_mode, "auto", "auto|forced|beam", P, NONE,
           "which statistics count, when there are those of given translations and of hypotheses; "
           "auto: of hypotheses if there are any",
           NULL),
    {"fraction", 0, prune_group, DGM_OPT_FLOAT, AT(fraction), "0.8125", 0, 1, NULL, "X", P, NONE,
     "part of all experts that goes", NULL},
    {"ratio", 0, prune_group, DGM_OPT_FLOAT, AT(ratio), "3", 0, 1000, NULL, "X", P, NONE,
     "experts kept in the encoder for one in the decoder", NULL},
    INT("keep-total", 0, prune_group, keep_total, "0", 0, 1048576, "N", P, NONE,
        "instead of fraction and ratio: how many experts stay, over all layers", NULL),
    INT("keep-encoder", 0, prune_group, keep_encoder, "0", 0, 1048576, "N", P, NONE,
        "how many of them in the encoder", NULL),
    TEXT("for", 0, prune_group, cut_for, "", "SRC-TGT,..", P, NONE,
         "with -k and -o: the directions whose experts a smaller model has, such as "
         "eng_Latn-deu_Latn",
         "Other directions are refused there"),
    SWITCH(
        "evaluate", 0, prune_group, evaluate, P, NONE,
        "translate the texts of -i with all experts and with those of --keep, and tell what that "
        "costs beside --reference: BLEU, spBLEU, chrF++ with a 95 % interval, length, outputs that "
        "are empty, loop or do not end",
        NULL),
    SWITCH("sweep", 0, prune_group, sweep, P, NONE,
           "as --evaluate, for experts that --stats chooses under each of --fractions and "
           "--ratios: quality "
           "against bytes, and the knee; -o FILE: as JSON; -k FILE: the knee's experts",
           NULL),
    {"max-loss", 0, prune_group, DGM_OPT_FLOAT, AT(max_loss), "-1", -1, 100, NULL, "X", P, NONE,
     "find the fewest bytes of experts, over --fractions and --ratios, that lose at most X chrF++ "
     "on the texts of -i, and write "
     "them to --keep; -1: do not",
     NULL},
    CHOICE("loss-of", prune_group, loss_of, "worst", "worst|mean", P, NONE,
           "what --max-loss bounds: the loss of the direction that loses most, or the mean",
           "A mean hides a direction that fails"),
    TEXT("fractions", 0, prune_group, fractions, "", "X,..", P, NONE,
         "parts of all experts that go; without it --sweep takes 0.25,0.5,0.625,0.75,0.8125,0.875 "
         "and --max-loss all multiples of 1/64",
         NULL),
    TEXT("ratios", 0, prune_group, ratios, "1,2,3", "X,..", P, NONE,
         "of --sweep and --max-loss: experts kept in the encoder for one in the decoder", NULL),
    TEXT("from", 0, prune_group, from, "", "FILE", P, NONE,
         "algorithms loss: begin with the experts that this keep file keeps, instead of all", NULL),
    SWITCH("protect-eos", 0, prune_group, protect_eos, P, NONE,
           "keep in each decoder layer, before the metric chooses the rest of the budget, the "
           "experts that have 90 % of the gate weight where sentences end",
           "Where they are more than the budget, those with the most weight stay"),
    TEXT("decoder-keep", 0, prune_group, decoder_keep, "", "LANG=X,..", P, LIST,
         "part of the decoder's experts to keep for a target language, whatever the budget says; "
         "may be given several times",
         NULL),
    CHOICE("linkage", prune_group, linkage, "average", "average|single|complete|ward", A, NONE,
           "how far apart two clusters of languages are: mean over pairs, nearest pair, "
           "farthest pair, or growth of the sum of squares",
           NULL),
    SWITCH("compare", 0, prune_group, compare, A, NONE,
           "what changed from the first file of statistics to the second", NULL),
    TEXT("quality", 0, prune_group, quality, "", "FILE", A, NONE,
         "draw quality against bytes, from what dragoman prune --sweep wrote", NULL),
    TEXT("csv", 0, prune_group, csv, "", "DIR", A, NONE,
         "write there what the figures show, as tables", NULL),

    /* Synthetic models */
    TEXT(
        "like", 0, shape_group, like, "", "SHAPE", Y, NONE,
        "nllb-moe-54b, elephants-5b, dense-3.3b, dense-1.3b, dense-600m or demo; the options below "
        "change it, 0 is what the shape has",
        NULL),
    SHAPE("d-model", d_model, 65536, "width of the model"),
    SHAPE("ffn", ffn, 1048576, "width of the feed-forward layers and experts"),
    TEXT("layers", 0, shape_group, layers, "", "E,D", Y, NONE, "layers of encoder and decoder",
         NULL),
    SHAPE("encoder-layers", encoder_layers, 256, "layers of the encoder"),
    SHAPE("decoder-layers", decoder_layers, 256, "layers of the decoder"),
    SHAPE("heads", heads, 1024, "attention heads"),
    SHAPE("vocab", vocab, 16777216,
          "rows of the embedding; at least as many as the demonstration tokeniser has ids"),
    SHAPE("sparse-step", sparse_step, 256, "each N-th layer is a mixture of experts"),
    SHAPE("top-k", top_k, 2,
          "experts of a token: 2, their gates sum to 1; 1, its gate is its softmax"),
    TEXT("experts-kept", 0, shape_group, experts_kept, "", "E,D", Y, NONE,
         "how many of the experts are there in encoder and decoder, as if the others were pruned",
         NULL),
    CHOICE("weights", shape_group, weights, "plain", "plain|f32|bf16|int8|int4", Y, NONE,
           "type of the experts' matrices in dragoman's packed layout; plain: a Hugging Face "
           "directory of the type that --dense says",
           NULL),
    CHOICE("encoder-routing", shape_group, encoder_routing, "token", "token|sentence|task", Y, NONE,
           "what the experts of the encoder are chosen by", NULL),
    CHOICE("decoder-routing", shape_group, decoder_routing, "token", "token|sentence|task", Y, NONE,
           "what those of the decoder are chosen by; task: the target language", NULL),
    INT("tasks", 0, shape_group, tasks, "0", 0, 65536, "N", Y, NONE,
        "target languages that a model routed by task knows, with experts of their own while there "
        "are enough; 0: four",
        NULL),
    INT("planted-languages", 0, shape_group, planted_languages, "0", 0, 12, "N", Y, NONE,
        "instead of --like: a model that copies its source and of which it is known, in "
        "DIR/planted.json, which 4 of 128 experts a layer each of N languages needs",
        NULL),
    SWITCH("planted-eos", 0, shape_group, planted_eos, Y, NONE,
           "one more expert of the last decoder layer alone makes such translations end", NULL),
    {"router-scale", 0, shape_group, DGM_OPT_FLOAT, AT(router_scale), "4", 0.01, 1000, NULL, "X", Y,
     NONE, "spread of router logits, to the nearest power of 2",
     "Near 0 gates are all alike and near ties common"},

    /* Client */
    TEXT("connect", 0, client_group, connect, "", "ADDRESS", C, NONE,
         "the server: unix:PATH or tcp:HOST:PORT", NULL),
    TEXT("token-file", 0, client_group, token_file, "", "FILE", C, NONE,
         "file whose first line is the token that the server asks for", NULL),
    SWITCH("tls", 0, client_group, tls, C, NONE,
           "over a tcp address: TLS, with a server whose certificate is for the host in --connect "
           "and by one whom the system trusts",
           NULL),
    TEXT("tls-ca", 0, client_group, tls_ca, "", "FILE", C, NONE,
         "the same, but by one of the certificates in FILE alone, in PEM", NULL),
    INT("attempts", 0, client_group, attempts, "10", 0, 1000000, "N", C, NONE,
        "how often in a row a connection is tried, with growing pauses, before the job ends; 0: no "
        "limit; client health tries once unless told otherwise",
        NULL),
    CHOICE("priority", client_group, priority, "normal", "normal|interactive|bulk", C, NONE,
           "interactive goes before others, bulk behind them", NULL),
    INT("line-deadline-ms", 0, client_group, line_deadline_ms, "0", 0, 86400000, "MS", C, NONE,
        "a line that is not translated in so long is given up, and blank; 0: none", NULL),

    /* Serving */
    TEXT("listen", 0, serve_group, listen, "", "ADDRESS", V, LIST,
         "unix:PATH or tcp:HOST:PORT; may be given several times, beside what systemd passes; "
         "without "
         "either a Unix socket in $XDG_RUNTIME_DIR or /tmp, which its owner alone can use",
         NULL),
    TEXT("http", 0, serve_group, http, "", "HOST:PORT", V, NONE,
         "answer /metrics, /healthz and /readyz there, such as 127.0.0.1:9464; port 0: any that is "
         "free, which the log tells",
         NULL),
    TEXT("web", 0, serve_group, web, "", "HOST:PORT", V, NONE,
         "a page to try translations by hand there, such as 127.0.0.1:8080; it asks for a token "
         "where --tokens is set",
         "Without --tokens everybody with an account on this machine can ask"),
    SWITCH(
        "insecure", 0, serve_group, insecure, V, NONE,
        "let anybody in the network connect: tcp addresses beyond loopback without TLS and tokens, "
        "and --http and --web there",
        "Whoever reaches the address can read, ask, and fill the queue"),
    TEXT("tokens", 0, serve_group, tokens, "", "FILE", V, NONE,
         "clients must show a token of this file: NAME:SHA256 a line, as of `printf %s TOKEN | "
         "sha256sum`; read again on SIGHUP",
         "A token that can be guessed is none: openssl rand -hex 32"),
    TEXT(
        "tls-cert", 0, serve_group, tls_cert, "", "FILE", C | V, NONE,
        "serve: TLS on tcp addresses, with this certificate, in PEM, and behind it those that lead "
        "to its root; read again on SIGHUP. client: what it shows where --tls-client-ca is asked",
        NULL),
    TEXT("tls-key", 0, serve_group, tls_key, "", "FILE", C | V, NONE,
         "key of --tls-cert, in PEM, without a passphrase",
         "Nobody else should be able to read it"),
    TEXT("tls-client-ca", 0, serve_group, tls_client_ca, "", "FILE", V, NONE,
         "over TLS, clients must show a certificate by one of these, in PEM", NULL),
    INT("max-queue-tokens", 0, serve_group, max_queue_tokens, "262144", 1, 1000000000, "N", V, NONE,
        "source tokens that wait or are in work, of all clients; beyond it they are told to come "
        "again later",
        "Large lets clients wait long, small turns them away early"),
    INT("cache-mib", 0, serve_group, cache_mib, "64", 0, 1048576, "MIB", V, NONE,
        "answers kept for when the same line is asked again; 0: none", NULL),
    INT("max-memory-mib", 0, serve_group, max_memory_mib, "0", 0, 1048576, "MIB", V, NONE,
        "memory for connections and lines that wait, in all; beyond it requests are refused, and "
        "who "
        "holds most is let go; 0: an eighth of what is free, 64 to 4096",
        "Not the model's, the engine's or --cache-mib's"),
    INT("max-connections", 0, serve_group, max_connections, "1024", 1, 1000000, "N", V, NONE,
        "clients at once", "Each takes a file descriptor: ulimit -n"),
    INT("max-in-flight", 0, serve_group, max_in_flight, "2048", 1, 1000000, "N", V, NONE,
        "lines that one connection may have sent and not got back", NULL),
    INT("idle-ms", 0, serve_group, idle_ms, "600000", 0, 2000000000, "MS", V, NONE,
        "close a connection that has nothing in work and sends nothing for so long; 0: never",
        NULL),
    INT("write-ms", 0, serve_group, write_ms, "30000", 100, 2000000000, "MS", V, NONE,
        "close a connection that takes no byte of what is sent to it, or sends none in the middle "
        "of a frame, for so long",
        NULL),
    INT("drain-ms", 0, serve_group, drain_ms, "30000", 0, 2000000000, "MS", V, NONE,
        "after SIGTERM, time for what was taken before; a second signal ends at once", NULL),

    /* General */
    TEXT("config", 0, general_group, config, "", "FILE", ALL, HERE,
         "read options from FILE, `key = value`; flags and environment are stronger", NULL),
    SWITCH("print-config", 0, general_group, print_config, ALL, HERE,
           "print every option, its value and where it comes from, and stop", NULL),
    CHOICE("log-level", general_group, log_level, "info", "error|warn|info|debug|trace", ALL, NONE,
           "how much to say on standard error", NULL),
    CHOICE("log-format", general_group, log_format, "text", "text|json", ALL, NONE,
           "how to say it: lines for people, or one JSON object a line", NULL),
    SWITCH("help", 'h', general_group, help, ALL, HERE, "this text", NULL),
};

const int dgm_option_row_count = sizeof dgm_option_rows / sizeof dgm_option_rows[0];
