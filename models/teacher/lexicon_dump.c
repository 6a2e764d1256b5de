/* Writes down how CMU Flite pronounces: its lexicon, its letter-to-sound trees, its part-of-speech tree.
 *
 *     cc lexicon_dump.c -o lexicon_dump -lflite_usenglish -lflite_cmulex -lflite -lm
 *
 * `lexicon_dump entries`:           every word of the lexicon and its addenda, with its part of speech in front.
 * `lexicon_dump lookup < requests`: each line "word" or "word <TAB> part of speech" gives
 *                                   word <TAB> part <TAB> 1 if the lexicon has it, else 0 <TAB> phones with stress.
 * `lexicon_dump letters`:           the phone table, each letter's first state, and all states as
 *                                   feature, value, next state if equal, next state if not.
 * `lexicon_dump tags`:              the classes of function words, and the part-of-speech tree as
 *                                   nodes "feature value next if not" (the next line if equal) and leaves.
 */
#include <flite/cst_cart.h>
#include <flite/flite.h>
#include <stdio.h>
#include <string.h>

enum { END_OF_ENTRY = 0, MIDDLE_OF_ENTRY = 255, LETTERS = 26, LONGEST = 1024 };

cst_lexicon *cmu_lex_init(void);
extern const cst_cart us_pos_cart;
extern const cst_val *const *const us_gpos[];

/* An entry is its phones, backwards, then a byte 255, then its packed spelling, then 0. */
static int dump_entries(const cst_lexicon *lexicon) {
    for (int middle = 0; middle < lexicon->num_bytes; middle++) {
        if (lexicon->data[middle] != MIDDLE_OF_ENTRY) continue;
        for (const unsigned char *packed = lexicon->data + middle + 1; *packed != END_OF_ENTRY; packed++)
            fputs(lexicon->entry_hufftable[*packed], stdout);
        putchar('\n');
    }
    for (int added = 0; lexicon->addenda && lexicon->addenda[added]; added++) puts(lexicon->addenda[added][0]);
    return 0;
}

static int look_up(const cst_lexicon *lexicon) {
    char word[LONGEST];
    while (fgets(word, sizeof word, stdin)) {
        word[strcspn(word, "\n")] = 0;
        char *part = strchr(word, '\t');
        if (part) *part++ = 0;
        if (!*word) continue;
        cst_val *phones = lex_lookup(lexicon, word, part, NULL);
        printf("%s\t%s\t%d\t", word, part ? part : "", in_lex(lexicon, word, part, NULL) ? 1 : 0);
        for (const cst_val *phone = phones; phone; phone = val_cdr(phone))
            printf("%s%s", val_string(val_car(phone)), val_cdr(phone) ? " " : "");
        putchar('\n');
        delete_val(phones);
    }
    return 0;
}

static cst_lts_rule letter_state(const cst_lts_rules *rules, int state) {
    cst_lts_rule rule;
    memcpy(&rule, rules->models + state * (int)sizeof rule, sizeof rule);
    return rule;
}

static int last_state(const cst_lts_rules *rules, int state, int deepest) {
    cst_lts_rule rule = letter_state(rules, state);
    if (state > deepest) deepest = state;
    if (rule.feat == CST_LTS_EOR) return deepest;
    deepest = last_state(rules, rule.qtrue, deepest);
    return last_state(rules, rule.qfalse, deepest);
}

static int dump_letters(const cst_lexicon *lexicon) {
    const cst_lts_rules *rules = lexicon->lts_rule_set;
    int deepest = 0;
    printf("context %d extra %d\n", rules->context_window_size, rules->context_extra_feats);
    for (int letter = 0; letter < LETTERS; letter++) {
        printf("letter %c %d\n", 'a' + letter, rules->letter_index[letter]);
        deepest = last_state(rules, rules->letter_index[letter], deepest);
    }
    for (int phone = 0; rules->phone_table[phone]; phone++) printf("phone %s\n", rules->phone_table[phone]);
    for (int state = 0; state <= deepest; state++) {
        cst_lts_rule rule = letter_state(rules, state);
        printf("state %d %d %d %d\n", rule.feat, rule.val, rule.qtrue, rule.qfalse);
    }
    return 0;
}

/* Nodes are numbered as in the tree; every question asks for equality. */
static void dump_node(int number) {
    const cst_cart_node *node = us_pos_cart.rule_table + number;
    if (node->op == CST_CART_OP_LEAF) {
        printf("leaf %d %s\n", number, val_string(node->val));
        return;
    }
    printf("node %d %s %s %d\n", number, us_pos_cart.feat_table[node->feat], val_string(node->val), node->no_node);
    dump_node(number + 1);
    dump_node(node->no_node);
}

static int dump_tags(void) {
    for (int class = 0; us_gpos[class]; class++) {
        printf("class");
        for (int word = 0; us_gpos[class][word]; word++) printf(" %s", val_string(us_gpos[class][word]));
        putchar('\n');
    }
    dump_node(0);
    return 0;
}

int main(int argc, char **argv) {
    flite_init();
    const cst_lexicon *lexicon = cmu_lex_init();
    const char *what = argc == 2 ? argv[1] : "";
    if (!strcmp(what, "entries")) return dump_entries(lexicon);
    if (!strcmp(what, "lookup")) return look_up(lexicon);
    if (!strcmp(what, "letters")) return dump_letters(lexicon);
    if (!strcmp(what, "tags")) return dump_tags();
    fprintf(stderr, "usage: %s entries|lookup|letters|tags\n", argv[0]);
    return 2;
}
