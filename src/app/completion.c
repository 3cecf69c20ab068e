/* SPDX-License-Identifier: MIT */
/* completion: each script first walks over the words before the cursor, over options and their
 * values, to learn the command (one or two words) and how many arguments it has. Then it offers
 * what the table has there. Sentences are quoted for each shell; words are the table's own and need
 * no quotes.
 */
#include "app/completion.h"

#include "app/command.h"
#include "app/plain.h"

/* ---- what there is to offer ---- */

static bool takes_value(const struct command_option *o)
{
    return o->kind != COMMAND_NOTHING;
}

/* Prints the options that take a value (or, with kind, one of that kind) as a pattern: -c|--config.
 */
static bool print_pattern(const char *between, enum command_kind kind, FILE *to)
{
    bool any = false;

    for (unsigned i = 0; i < COMMAND_N_OPTIONS; i++) {
        const struct command_option *o = &command_options[i];

        if (!takes_value(o) || o->unbuilt || (kind && o->kind != kind))
            continue;
        if (o->letter)
            fprintf(to, "%s-%c", any ? between : "", o->letter);
        fprintf(to, "%s--%s", any || o->letter ? between : "", o->name);
        any = true;
    }
    return any;
}

static bool offers_option(const struct command *c, unsigned id)
{
    return command_takes(c, id) && !command_options[id].unbuilt;
}

/* Whether row i is the first of its group, and the group has two words. */
static bool begins_group(unsigned i)
{
    const struct command *c = &command_table[i];

    return command_first(c).n < strlen(c->name) &&
           (i == COMMAND_SERVE + 1 ||
            !slice_eq(command_first(c), command_first(&command_table[i - 1])));
}

static bool offers_first(unsigned i)
{
    return command_first(&command_table[i]).n == strlen(command_table[i].name) || begins_group(i);
}

static const char *second_word(const struct command *c)
{
    return c->name + command_first(c).n + 1;
}

static bool same_group(unsigned i, unsigned j)
{
    return slice_eq(command_first(&command_table[i]), command_first(&command_table[j]));
}

/* Inside single quotes; what stands for a quote there, and for a backslash, is the shell's. */
static void print_quoted(struct slice s, const char *quote, const char *backslash, FILE *to)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\'')
            fputs(quote, to);
        else if (s.p[i] == '\\')
            fputs(backslash, to);
        else
            fputc(s.p[i], to);
}

/* "name:sentence" in zsh's quotes, "sentence" in fish's. */
static void print_zsh_item(const char *name, const char *sentence, FILE *to)
{
    char text[PLAIN_MAX];

    fprintf(to, "'%s:", name);
    print_quoted(plain_first(text, sentence), "'\\''", "\\", to);
    fputc('\'', to);
}

static void print_fish_sentence(const char *sentence, FILE *to)
{
    char text[PLAIN_MAX];

    fputs(" -d '", to);
    print_quoted(plain_first(text, sentence), "\\'", "\\\\", to);
    fputs("'\n", to);
}

static const char *group_sentence(unsigned first)
{
    return begins_group(first) ? "The configuration" : command_table[first].sentence;
}

static void print_first(unsigned i, FILE *to)
{
    struct slice first = command_first(&command_table[i]);

    fprintf(to, SLICE_FMT, SLICE_ARG(first));
}

/* ---- bash ---- */

static const char bash_head[] =
    "# bash completion for ginnel, made by `ginnel completion bash`.\n"
    "# Use it: source <(ginnel completion bash)\n"
    "\n"
    "_ginnel_files()\n"
    "{\n"
    "    compopt -o filenames 2>/dev/null\n"
    "    mapfile -t COMPREPLY < <(compgen -f -- \"$1\")\n"
    "}\n"
    "\n"
    "_ginnel_words()\n"
    "{\n"
    "    mapfile -t COMPREPLY < <(compgen -W \"$2\" -- \"$1\")\n"
    "}\n"
    "\n"
    "_ginnel()\n"
    "{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev= command= word options=\n"
    "    local -i i args=0\n"
    "\n"
    "    COMPREPLY=()\n"
    "    ((COMP_CWORD > 0)) && prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
    "    # --config=FILE comes as three words\n"
    "    if [[ $cur == = ]]; then\n"
    "        cur=\n"
    "    elif [[ $prev == = ]] && ((COMP_CWORD > 1)); then\n"
    "        prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
    "    fi\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]}\n"
    "        case $word in\n";

static void bash_walk(FILE *to)
{
    fputs("        ", to);
    print_pattern(" | ", COMMAND_NOTHING, to);
    fputs(")\n"
          "            [[ ${COMP_WORDS[i + 1]} == = ]] && i+=1\n"
          "            i+=1\n"
          "            ;;\n"
          "        -* | =) ;;\n"
          "        *)\n"
          "            case $command in\n"
          "            '') command=$word ;;\n",
          to);
    for (unsigned i = COMMAND_SERVE + 1; i < COMMAND_BUILT; i++)
        if (begins_group(i)) {
            fputs("            ", to);
            print_first(i, to);
            fputs(") command+=\" $word\" ;;\n", to);
        }
    fputs("            *) args+=1 ;;\n"
          "            esac\n"
          "            ;;\n"
          "        esac\n"
          "    done\n",
          to);
}

static void bash_values(FILE *to)
{
    fputs("    case $prev in\n    ", to);
    if (print_pattern(" | ", COMMAND_FILE, to))
        fputs(")\n        _ginnel_files \"$cur\"\n        return\n        ;;\n    ", to);
    print_pattern(" | ", COMMAND_NOTHING, to);
    fputs(") return ;;\n    esac\n", to);
}

static void bash_options(FILE *to)
{
    fputs("    if [[ $cur == -* ]]; then\n        case $command in\n", to);
    for (unsigned i = COMMAND_SERVE; i < COMMAND_BUILT; i++) {
        fprintf(to, "        '%s') options='", command_table[i].name);
        for (unsigned o = 0; o < COMMAND_N_OPTIONS; o++)
            if (offers_option(&command_table[i], o)) {
                fprintf(to, "--%s ", command_options[o].name);
                if (command_options[o].letter)
                    fprintf(to, "-%c ", command_options[o].letter);
            }
        fputs("' ;;\n", to);
    }
    fputs("        esac\n        _ginnel_words \"$cur\" \"$options\"\n        return\n    fi\n",
          to);
}

static void bash_argument(const struct command *c, FILE *to)
{
    switch (c->kind) {
    case COMMAND_FILE:
        fprintf(to, "    '%s') ((args == 0)) && _ginnel_files \"$cur\" ;;\n", c->name);
        break;
    case COMMAND_WORDS:
        fprintf(to, "    '%s') ((args == 0)) && _ginnel_words \"$cur\" '", c->name);
        for (unsigned i = 0; c->words[i]; i++)
            fprintf(to, "%s ", c->words[i]);
        fputs("' ;;\n", to);
        break;
    case COMMAND_NAME:
        fprintf(to, "    '%s') ((args == 0)) && _ginnel_words \"$cur\" '", c->name);
        for (unsigned i = COMMAND_SERVE + 1; i < COMMAND_BUILT; i++)
            if (offers_first(i)) {
                print_first(i, to);
                fputc(' ', to);
            }
        fputs("' ;;\n", to);
        break;
    default:
        break;
    }
}

static void bash_seconds(unsigned first, FILE *to)
{
    fputs("    ", to);
    print_first(first, to);
    fputs(") _ginnel_words \"$cur\" '", to);
    for (unsigned i = first; i < COMMAND_BUILT && same_group(first, i); i++)
        fprintf(to, "%s ", second_word(&command_table[i]));
    fputs("' ;;\n", to);
}

static void print_bash(FILE *to)
{
    fputs(bash_head, to);
    bash_walk(to);
    bash_values(to);
    bash_options(to);
    fputs("    case $command in\n    '') _ginnel_words \"$cur\" '", to);
    for (unsigned i = COMMAND_SERVE + 1; i < COMMAND_BUILT; i++)
        if (offers_first(i)) {
            print_first(i, to);
            fputc(' ', to);
        }
    fputs("' ;;\n", to);
    for (unsigned i = COMMAND_SERVE + 1; i < COMMAND_BUILT; i++) {
        if (begins_group(i))
            bash_seconds(i, to);
        bash_argument(&command_table[i], to);
    }
    fputs("    esac\n}\n\ncomplete -F _ginnel ginnel\n", to);
}

/* ---- zsh ---- */

static const char zsh_head[] =
    "#compdef ginnel\n"
    "# zsh completion for ginnel, made by `ginnel completion zsh`.\n"
    "# Use it: put it as _ginnel into a directory of $fpath, or source it behind compinit.\n"
    "\n"
    "_ginnel()\n"
    "{\n"
    "    local command= word prev=${words[CURRENT-1]}\n"
    "    local -i i args=0\n"
    "    local -a offered\n"
    "\n"
    "    for ((i = 2; i < CURRENT; i++)); do\n"
    "        word=${words[i]}\n"
    "        case $word in\n";

static void zsh_walk(FILE *to)
{
    fputs("        (", to);
    print_pattern("|", COMMAND_NOTHING, to);
    fputs(") i+=1 ;;\n"
          "        (-*) ;;\n"
          "        (*)\n"
          "            case $command in\n"
          "            ('') command=$word ;;\n",
          to);
    for (unsigned i = COMMAND_SERVE + 1; i < COMMAND_BUILT; i++)
        if (begins_group(i)) {
            fputs("            (", to);
            print_first(i, to);
            fputs(") command+=\" $word\" ;;\n", to);
        }
    fputs("            (*) args+=1 ;;\n"
          "            esac\n"
          "            ;;\n"
          "        esac\n"
          "    done\n",
          to);
}

static void zsh_values(FILE *to)
{
    fputs("    case $prev in\n    (", to);
    if (print_pattern("|", COMMAND_FILE, to))
        fputs(") _files; return ;;\n    (", to);
    print_pattern("|", COMMAND_NOTHING, to);
    fputs(") return 1 ;;\n    esac\n", to);
    for (unsigned i = 0; i < COMMAND_N_OPTIONS; i++)
        if (command_options[i].kind == COMMAND_FILE && !command_options[i].unbuilt)
            fprintf(to, "    if compset -P '--%s='; then _files; return; fi\n",
                    command_options[i].name);
}

static void zsh_options(FILE *to)
{
    fputs("    if [[ ${words[CURRENT]} == -* ]]; then\n        case $command in\n", to);
    for (unsigned i = COMMAND_SERVE; i < COMMAND_BUILT; i++) {
        fprintf(to, "        ('%s') offered=(", command_table[i].name);
        for (unsigned o = 0; o < COMMAND_N_OPTIONS; o++) {
            char name[32];

            if (!offers_option(&command_table[i], o))
                continue;
            snprintf(name, sizeof(name), "--%s", command_options[o].name);
            fputs("\n            ", to);
            print_zsh_item(name, command_options[o].sentence, to);
            if (!command_options[o].letter)
                continue;
            snprintf(name, sizeof(name), "-%c", command_options[o].letter);
            fputs("\n            ", to);
            print_zsh_item(name, command_options[o].sentence, to);
        }
        fputs(") ;;\n", to);
    }
    fputs("        esac\n        _describe -o option offered\n        return\n    fi\n", to);
}

static void zsh_argument(const struct command *c, FILE *to)
{
    switch (c->kind) {
    case COMMAND_FILE:
        fprintf(to, "    ('%s') ((args == 0)) && _files ;;\n", c->name);
        break;
    case COMMAND_WORDS:
        fprintf(to, "    ('%s') ((args == 0)) && compadd --", c->name);
        for (unsigned i = 0; c->words[i]; i++)
            fprintf(to, " %s", c->words[i]);
        fputs(" ;;\n", to);
        break;
    case COMMAND_NAME:
        fprintf(to, "    ('%s') ((args == 0)) && compadd --", c->name);
        for (unsigned i = COMMAND_SERVE + 1; i < COMMAND_BUILT; i++)
            if (offers_first(i)) {
                fputc(' ', to);
                print_first(i, to);
            }
        fputs(" ;;\n", to);
        break;
    default:
        break;
    }
}

static void zsh_seconds(unsigned first, FILE *to)
{
    fputs("    (", to);
    print_first(first, to);
    fputs(")\n        offered=(", to);
    for (unsigned i = first; i < COMMAND_BUILT && same_group(first, i); i++) {
        fputs("\n            ", to);
        print_zsh_item(second_word(&command_table[i]), command_table[i].sentence, to);
    }
    fputs(")\n        _describe command offered\n        ;;\n", to);
}

static void print_zsh(FILE *to)
{
    fputs(zsh_head, to);
    zsh_walk(to);
    zsh_values(to);
    zsh_options(to);
    fputs("    case $command in\n    ('')\n        offered=(", to);
    for (unsigned i = COMMAND_SERVE + 1; i < COMMAND_BUILT; i++)
        if (offers_first(i)) {
            struct slice first = command_first(&command_table[i]);
            char name[32];

            snprintf(name, sizeof(name), SLICE_FMT, SLICE_ARG(first));
            fputs("\n            ", to);
            print_zsh_item(name, group_sentence(i), to);
        }
    fputs(")\n        _describe command offered\n        ;;\n", to);
    for (unsigned i = COMMAND_SERVE + 1; i < COMMAND_BUILT; i++) {
        if (begins_group(i))
            zsh_seconds(i, to);
        zsh_argument(&command_table[i], to);
    }
    /* autoloaded, the file is the function's body and must call it; sourced, it only registers it
     */
    fputs("    esac\n}\n\n"
          "if [[ $funcstack[1] == _ginnel ]]; then\n"
          "    _ginnel \"$@\"\n"
          "else\n"
          "    compdef _ginnel ginnel\n"
          "fi\n",
          to);
}

/* ---- fish ---- */

static const char fish_head[] =
    "# fish completion for ginnel, made by `ginnel completion fish`.\n"
    "# Use it: ginnel completion fish | source\n"
    "\n"
    "# Prints the command before the cursor, and how many arguments it has.\n"
    "function __ginnel_walk\n"
    "    set -l words (commandline -opc)\n"
    "    set -l name ''\n"
    "    set -l args 0\n"
    "    set -l skip 0\n"
    "    for word in $words[2..-1]\n"
    "        if test $skip = 1\n"
    "            set skip 0\n"
    "            continue\n"
    "        end\n"
    "        switch $word\n"
    "            case ";

static const char fish_middle[] =
    "            case '*'\n"
    "                set args (math $args + 1)\n"
    "        end\n"
    "    end\n"
    "    echo $name\n"
    "    echo $args\n"
    "end\n"
    "\n"
    "function __ginnel_at --description 'the command is one of these'\n"
    "    set -l walk (__ginnel_walk)\n"
    "    contains -- \"$walk[1]\" $argv\n"
    "end\n"
    "\n"
    "function __ginnel_wants --description 'the command is this one and has no argument yet'\n"
    "    set -l walk (__ginnel_walk)\n"
    "    test \"$walk[1]\" = \"$argv[1]\" -a \"$walk[2]\" = 0\n"
    "end\n"
    "\n"
    "complete -c ginnel -f\n";

static void fish_walk(FILE *to)
{
    fputs(fish_head, to);
    print_pattern(" ", COMMAND_NOTHING, to);
    fputs("\n"
          "                set skip 1\n"
          "                continue\n"
          "            case '-*'\n"
          "                continue\n"
          "        end\n"
          "        switch \"$name\"\n"
          "            case ''\n"
          "                set name $word\n",
          to);
    for (unsigned i = COMMAND_SERVE + 1; i < COMMAND_BUILT; i++)
        if (begins_group(i)) {
            fputs("            case ", to);
            print_first(i, to);
            fputs("\n                set name \"$name $word\"\n", to);
        }
    fputs(fish_middle, to);
}

static void fish_argument(const struct command *c, FILE *to)
{
    if (c->kind == COMMAND_FILE)
        fprintf(to, "complete -c ginnel -n \"__ginnel_wants '%s'\" -F\n", c->name);
    for (unsigned i = 0; c->kind == COMMAND_WORDS && c->words[i]; i++)
        fprintf(to, "complete -c ginnel -n \"__ginnel_wants '%s'\" -a %s\n", c->name, c->words[i]);
    for (unsigned i = COMMAND_SERVE + 1; c->kind == COMMAND_NAME && i < COMMAND_BUILT; i++)
        if (offers_first(i)) {
            fprintf(to, "complete -c ginnel -n \"__ginnel_wants '%s'\" -a ", c->name);
            print_first(i, to);
            print_fish_sentence(group_sentence(i), to);
        }
}

static void fish_commands(FILE *to)
{
    for (unsigned i = COMMAND_SERVE + 1; i < COMMAND_BUILT; i++) {
        const struct command *c = &command_table[i];

        if (offers_first(i)) {
            fputs("complete -c ginnel -n \"__ginnel_wants ''\" -a ", to);
            print_first(i, to);
            print_fish_sentence(group_sentence(i), to);
        }
        if (command_first(c).n < strlen(c->name)) {
            fputs("complete -c ginnel -n \"__ginnel_wants ", to);
            print_first(i, to);
            fprintf(to, "\" -a %s", second_word(c));
            print_fish_sentence(c->sentence, to);
        }
        fish_argument(c, to);
    }
}

static void fish_options(FILE *to)
{
    for (unsigned o = 0; o < COMMAND_N_OPTIONS; o++) {
        const struct command_option *option = &command_options[o];

        if (option->unbuilt)
            continue;
        fputs("complete -c ginnel -n \"__ginnel_at", to);
        for (unsigned i = COMMAND_SERVE; i < COMMAND_BUILT; i++)
            if (command_takes(&command_table[i], o))
                fprintf(to, " '%s'", command_table[i].name);
        fprintf(to, "\" -l %s", option->name);
        if (option->letter)
            fprintf(to, " -s %c", option->letter);
        if (option->kind == COMMAND_FILE)
            fputs(" -r -F", to);
        else if (takes_value(option))
            fputs(" -x", to);
        print_fish_sentence(option->sentence, to);
    }
}

static void print_fish(FILE *to)
{
    fish_walk(to);
    fish_commands(to);
    fish_options(to);
}

bool completion_print(const char *shell, FILE *to)
{
    if (strcmp(shell, "bash") == 0)
        print_bash(to);
    else if (strcmp(shell, "zsh") == 0)
        print_zsh(to);
    else if (strcmp(shell, "fish") == 0)
        print_fish(to);
    else
        return false;
    return true;
}
