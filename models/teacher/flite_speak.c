/* Speaks lines of text with the CMU Flite voices and writes what a pupil needs to learn from them.
 *
 * Input, one job per line on stdin:  voice <TAB> duration_stretch <TAB> text
 * argv[1]: 16-bit mono PCM of all utterances, one after another.
 * argv[2]: one JSON object per utterance: where its samples lie, its segments (phone, end time in
 *          seconds, stress, word index, first-of-syllable) and its words (spoken form, source token,
 *          punctuation after it).
 * The excitation noise runs on from one utterance to the next; durations, envelope and pitch depend on the
 * text alone. So the same line twice gives two renderings that differ in noise only.
 */
#include <flite/flite.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE (1 << 16)

cst_voice *register_cmu_us_rms(const char *);
cst_voice *register_cmu_us_slt(const char *);
cst_voice *register_cmu_us_awb(const char *);
cst_voice *register_cmu_us_kal16(const char *);

typedef struct {
    const char *name;
    cst_voice *(*create)(const char *);
    cst_voice *voice;
} teacher;

static teacher teachers[] = {
    {"rms", register_cmu_us_rms, NULL},
    {"slt", register_cmu_us_slt, NULL},
    {"awb", register_cmu_us_awb, NULL},
    {"kal16", register_cmu_us_kal16, NULL},
};

static cst_voice *find_voice(const char *name) {
    for (size_t i = 0; i < sizeof teachers / sizeof *teachers; i++) {
        if (strcmp(name, teachers[i].name) != 0) continue;
        if (!teachers[i].voice) teachers[i].voice = teachers[i].create(NULL);
        return teachers[i].voice;
    }
    return NULL;
}

static void write_json_string(FILE *out, const char *text) {
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', out);
        if ((unsigned char)*text >= 32) fputc(*text, out);
    }
    fputc('"', out);
}

static void write_segments(FILE *out, cst_utterance *utterance) {
    const cst_item *previous_word = NULL, *previous_syllable = NULL;
    int word_index = -1, first = 1;
    for (cst_item *segment = relation_head(utt_relation(utterance, "Segment")); segment;
         segment = item_next(segment)) {
        cst_item *leaf = item_as(segment, "SylStructure");
        cst_item *syllable = leaf ? item_parent(leaf) : NULL;
        cst_item *word = syllable ? item_parent(syllable) : NULL;
        int stress = 0, starts_syllable = 0;
        if (syllable) {
            stress = item_feat_present(syllable, "stress") ? atoi(ffeature_string(syllable, "stress")) : 0;
            starts_syllable = !previous_syllable || !item_equal((cst_item *)previous_syllable, syllable);
            previous_syllable = syllable;
        }
        if (word) {
            if (!previous_word || !item_equal((cst_item *)previous_word, word)) word_index++;
            previous_word = word;
        }
        fprintf(out, "%s[\"%s\",%.4f,%d,%d,%d]", first ? "" : ",", item_name(segment),
                item_feat_float(segment, "end"), stress, word ? word_index : -1, starts_syllable);
        first = 0;
    }
}

static void write_words(FILE *out, cst_utterance *utterance) {
    int first = 1;
    for (cst_item *word = relation_head(utt_relation(utterance, "Word")); word; word = item_next(word)) {
        fprintf(out, "%s[", first ? "" : ",");
        write_json_string(out, item_name(word));
        fputc(',', out);
        write_json_string(out, ffeature_string(word, "R:Token.parent.name"));
        fputc(',', out);
        write_json_string(out, ffeature_string(word, "R:Token.parent.punc"));
        fputc(']', out);
        first = 0;
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s samples.pcm utterances.jsonl < jobs.tsv\n", argv[0]);
        return 2;
    }
    flite_init();
    FILE *pcm = fopen(argv[1], "wb"), *index = fopen(argv[2], "w");
    char *line = malloc(MAX_LINE);
    if (!pcm || !index || !line) {
        perror(argv[0]);
        return 1;
    }
    for (long offset = 0, number = 1; fgets(line, MAX_LINE, stdin); number++) {
        char *stretch = strchr(line, '\t'), *text = stretch ? strchr(stretch + 1, '\t') : NULL;
        cst_voice *voice = NULL;
        if (text) {
            *stretch++ = 0, *text++ = 0;
            text[strcspn(text, "\n")] = 0;
            voice = find_voice(line);
        }
        if (!voice) {
            fprintf(stderr, "line %ld: want 'voice<TAB>stretch<TAB>text' with voice rms, slt, awb or kal16\n", number);
            return 2;
        }
        feat_set_float(voice->features, "duration_stretch", (float)atof(stretch));
        cst_utterance *utterance = flite_synth_text(text, voice);
        cst_wave *wave = utterance ? utt_wave(utterance) : NULL;
        if (wave) {
            fwrite(wave->samples, sizeof(short), (size_t)wave->num_samples, pcm);
            fprintf(index, "{\"voice\":\"%s\",\"stretch\":%s,\"offset\":%ld,\"samples\":%d,\"rate\":%d,\"text\":", line,
                    stretch, offset, wave->num_samples, wave->sample_rate);
            write_json_string(index, text);
            fprintf(index, ",\"segments\":[");
            write_segments(index, utterance);
            fprintf(index, "],\"words\":[");
            write_words(index, utterance);
            fprintf(index, "]}\n");
            offset += wave->num_samples;
        }
        if (utterance) delete_utterance(utterance);
    }
    int failed = fclose(pcm) || fclose(index);
    free(line);
    return failed ? 1 : 0;
}
