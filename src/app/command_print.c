/* SPDX-License-Identifier: MIT */
/* command_print: the table of commands as text: usage and help for a terminal, lists for the
 * manual. Called by main, and by the manual's generator while building.
 */
#include "app/command.h"
#include "app/plain.h"

/* SYNOPSIS: where it begins, behind "usage: ". */
enum { COLUMN = 24, WIDTH = 80, SYNOPSIS = 7 };

/* ---- for a terminal ---- */

/* Breaks a text at blanks; its lines begin at column `left`, where the first already is. */
static void print_wrapped(struct slice text, unsigned left, FILE *to)
{
    size_t column = left;

    while (text.n) {
        struct slice word = slice_of(text.p, slice_find(text, ' '));

        if (column > left && column + 1 + word.n > WIDTH) {
            fprintf(to, "\n%*s", (int)left, "");
            column = left;
        }
        column += (size_t)fprintf(to, "%s" SLICE_FMT, column > left ? " " : "", SLICE_ARG(word));
        text = slice_skip(text, min_size(word.n + 1, text.n));
    }
    fputc('\n', to);
}

static void print_row(const char *left, struct slice text, FILE *to)
{
    int n = fprintf(to, "  %s", left);

    if (n + 1 >= COLUMN)
        fprintf(to, "\n%*s", COLUMN, "");
    else
        fprintf(to, "%*s", COLUMN - n, "");
    print_wrapped(text, COLUMN, to);
}

static void print_option(const struct command_option *o, FILE *to)
{
    char left[64], letter[8] = "    ", text[PLAIN_MAX];

    if (o->letter)
        snprintf(letter, sizeof(letter), "-%c, ", o->letter);
    snprintf(left, sizeof(left), "%s--%s%s%s", letter, o->name, o->value ? " " : "",
             o->value ? o->value : "");
    print_row(left, plain_text(text, o->sentence), to);
}

static void print_options(const struct command *c, FILE *to)
{
    for (unsigned i = 0; i < COMMAND_N_OPTIONS; i++)
        if (command_takes(c, i) && !command_options[i].unbuilt)
            print_option(&command_options[i], to);
}

static void argument_text(const struct command *c, char out[64])
{
    out[0] = '\0';
    if (c->kind != COMMAND_NOTHING)
        snprintf(out, 64, c->needed || c->unbuilt ? " %s%s%s" : " [%s%s%s]", c->argument,
                 c->second ? " " : "", c->second ? c->second : "");
}

/* A piece of a synopsis, on the next line where this one is full. */
static void print_piece(size_t *column, const char *piece, FILE *to)
{
    size_t n = strlen(piece);

    if (*column + n > WIDTH) {
        fprintf(to, "\n%*s", SYNOPSIS, "");
        *column = SYNOPSIS;
    }
    fputs(piece, to);
    *column += n;
}

static void print_synopsis(const struct command *c, FILE *to)
{
    char argument[64], piece[96];
    size_t column = SYNOPSIS + (size_t)fprintf(to, "ginnel%s%s", c->name[0] ? " " : "", c->name);

    for (unsigned i = 0; i < COMMAND_N_OPTIONS; i++) {
        const struct command_option *o = &command_options[i];

        if (!command_takes(c, i) || o->unbuilt || i == FLAG_HELP || i == FLAG_VERSION)
            continue;
        if (o->letter)
            snprintf(piece, sizeof(piece), " [-%c%s%s]%s", o->letter, o->value ? " " : "",
                     o->value ? o->value : "", o->repeats ? "..." : "");
        else
            snprintf(piece, sizeof(piece), " [--%s%s%s]%s", o->name, o->value ? " " : "",
                     o->value ? o->value : "", o->repeats ? "..." : "");
        print_piece(&column, piece, to);
    }
    argument_text(c, argument);
    print_piece(&column, argument, to);
}

static void print_usage(FILE *to)
{
    char left[96], argument[64], text[PLAIN_MAX];

    fputs("usage: ", to);
    print_synopsis(&command_table[COMMAND_SERVE], to);
    fputs("\n       ginnel COMMAND\n\nAn HTTP(S) forward proxy. Without a configuration it listens "
          "on "
          "127.0.0.1:3128\nand [::1]:3128, for this machine alone.\n\n",
          to);
    print_options(&command_table[COMMAND_SERVE], to);
    fputs("\nCommands:\n", to);
    for (unsigned i = COMMAND_SERVE + 1; i < COMMAND_BUILT; i++) {
        argument_text(&command_table[i], argument);
        snprintf(left, sizeof(left), "%s%s", command_table[i].name, argument);
        print_row(left, plain_first(text, command_table[i].sentence), to);
    }
    fputs("\nTry: curl -x http://127.0.0.1:3128 http://ginnel.internal/\n", to);
}

static void print_help(const struct command *c, FILE *to)
{
    char text[PLAIN_MAX];

    fputs("usage: ", to);
    print_synopsis(c, to);
    fputs("\n\n", to);
    if (c->unbuilt)
        fprintf(to, "`%s` is not in this build. It will do this:\n", c->name);
    print_wrapped(plain_text(text, c->sentence), 0, to);
    fputc('\n', to);
    print_options(c, to);
}

bool command_print_help(struct slice name, FILE *to)
{
    const struct command *one = command_find(name);
    unsigned n = 0;

    if (name.n == 0) {
        print_usage(to);
        return true;
    }
    for (unsigned i = COMMAND_SERVE + 1; i < command_table_n; i++) {
        const struct command *c = &command_table[i];

        if (one ? c != one : !slice_eq(name, command_first(c)))
            continue;
        if (n++)
            fputc('\n', to);
        print_help(c, to);
    }
    return n > 0;
}

/* ---- for the manual ---- */

static void print_scdoc_argument(const struct command *c, FILE *to)
{
    if (c->kind == COMMAND_NOTHING)
        return;
    if (c->words)
        fprintf(to, " ");
    else if (!c->needed)
        fprintf(to, " [");
    else
        fprintf(to, " ");
    if (!c->words)
        fprintf(to, "_%s_%s", c->argument, c->needed ? "" : "]");
    if (c->second)
        fprintf(to, " _%s_", c->second);
    for (unsigned i = 0; c->words && c->words[i]; i++)
        fprintf(to, "%s*%s*", i ? "|" : "", c->words[i]);
}

static void print_scdoc_option(const struct command_option *o, FILE *to)
{
    if (o->letter)
        fprintf(to, "*-%c*", o->letter);
    else
        fprintf(to, "*--%s*", o->name);
    if (o->value)
        fprintf(to, " _%s_", o->value);
}

static void print_scdoc_synopsis(const struct command *c, FILE *to)
{
    fprintf(to, "*ginnel%s%s*", c->name[0] ? " " : "", c->name);
    for (unsigned i = 0; i < COMMAND_N_OPTIONS; i++) {
        const struct command_option *o = &command_options[i];

        if (!command_takes(c, i) || o->unbuilt || i == FLAG_HELP || i == FLAG_VERSION)
            continue;
        fputs(" [", to);
        print_scdoc_option(o, to);
        fprintf(to, "]%s", o->repeats ? "..." : "");
    }
    print_scdoc_argument(c, to);
}

void command_print_manual_synopsis(FILE *to)
{
    for (unsigned i = 0; i < COMMAND_BUILT; i++) {
        print_scdoc_synopsis(&command_table[i], to);
        fputs("++\n", to);
    }
    fputs("*ginnel --version*++\n*ginnel* [_COMMAND_] *--help*\n", to);
}

static void print_manual_option(const struct command_option *o, FILE *to)
{
    if (o->letter) {
        fprintf(to, "*-%c*", o->letter);
        if (o->value)
            fprintf(to, " _%s_", o->value);
        fputs(", ", to);
    }
    fprintf(to, "*--%s*", o->name);
    if (o->value)
        fprintf(to, " _%s_", o->value);
    fprintf(to, "\n\t%s\n\n", o->sentence);
}

/* Those of several commands come here, the others with their commands. */
void command_print_manual_options(FILE *to)
{
    for (unsigned i = 0; i < COMMAND_N_OPTIONS; i++)
        if (command_takes(&command_table[COMMAND_SERVE], i))
            print_manual_option(&command_options[i], to);
}

static void print_manual_command(const struct command *c, FILE *to)
{
    fprintf(to, "*%s*", c->name);
    print_scdoc_argument(c, to);
    fprintf(to, "\n\t%s\n\n", c->sentence);
    for (unsigned i = 0; i < COMMAND_N_OPTIONS; i++) {
        const struct command_option *o = &command_options[i];

        if (!command_takes(c, i) || o->unbuilt || command_takes(&command_table[COMMAND_SERVE], i))
            continue;
        fprintf(to, "\t*--%s*", o->name);
        if (o->value)
            fprintf(to, " _%s_", o->value);
        fprintf(to, ": %s\n\n", o->sentence);
    }
}

void command_print_manual_commands(FILE *to)
{
    const char *comma = "";

    for (unsigned i = COMMAND_SERVE + 1; i < COMMAND_BUILT; i++)
        print_manual_command(&command_table[i], to);
    fputs("These are known and refused, because they are not in this version:\n", to);
    for (unsigned i = COMMAND_BUILT; i < command_table_n; i++) {
        fprintf(to, "%s*%s*", comma, command_table[i].name);
        comma = ",\n";
    }
    for (unsigned i = 0; i < COMMAND_N_OPTIONS; i++)
        if (command_options[i].unbuilt)
            fprintf(to, ",\n*--%s*", command_options[i].name);
    fputs(".\n", to);
}
