/* Speaks lines with CMU Flite's rms voice: one text a line on stdin; on stdout, for each, blocks of
 * <int32 count><count samples of int16>, as soon as Flite has made them, ended by a block of count 0.
 * Native 16 kHz. Flite streams within a text: it first works out all durations and the whole envelope, then hands
 * over the waveform piece by piece.
 */
#include <flite/flite.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MAX_LINE (1 << 16)
#define PIECE_SAMPLES 640 /* 40 ms, the length of our first chunk */

cst_voice *register_cmu_us_rms(const char *);

static void write_block(const short *samples, int32_t count) {
    fwrite(&count, sizeof count, 1, stdout);
    if (count) fwrite(samples, sizeof *samples, (size_t)count, stdout);
    fflush(stdout);
}

static int hand_over(const cst_wave *wave, int start, int size, int last, cst_audio_streaming_info *info) {
    (void)last, (void)info;
    if (size > 0) write_block(wave->samples + start, size);
    return CST_AUDIO_STREAM_CONT;
}

int main(void) {
    static char line[MAX_LINE];
    flite_init();
    cst_voice *voice = register_cmu_us_rms(NULL);
    cst_audio_streaming_info *info = new_audio_streaming_info();
    if (!voice || !info) return 1;
    info->min_buffsize = PIECE_SAMPLES;
    info->asc = hand_over;
    feat_set(voice->features, "streaming_info", audio_streaming_info_val(info));
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        cst_utterance *utterance = flite_synth_text(line, voice);
        if (utterance) delete_utterance(utterance);
        write_block(NULL, 0);
    }
    return 0;
}
