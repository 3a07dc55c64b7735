# Writes manual pages from a C file's comments: from the first one selectors.7 (selectors.h),
# selectors_plugin.7 (selectors_plugin.h) or a program's page (-v program=NAME, and -v called=NAME in
# what is shown as it is), from each comment before a function the page of that function.
#
# In a comment a line that begins deeper is shown as it is, "-EINVAL   text" is an error, and a
# paragraph that begins with one or two words and a full stop has these for its heading.

function escape(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    sub(/^[.']/, "\\\\\\&&", text)
    return text
}

# Names of functions and macros, and of pages, stand out.
function dress(text,    out, word) {
    out = ""
    text = escape(text)
    while (match(text, /(sel_[a-z_]+\(\)|SEL_[A-Z_]+|SELECTORS_[A-Z]+|[a-z_0-9]+\([0-9]\)|sel_(event|key|backend_info|backend_ops|selector)[.a-z]*)/)) {
        word = substr(text, RSTART, RLENGTH)
        out = out substr(text, 1, RSTART - 1) "\\fB" word "\\fP"
        text = substr(text, RSTART + RLENGTH)
    }
    return out text
}

function head(page, section, title) {
    file = folder "/" page "." section
    printf "" >file
    print ".\\\" Made from the comments of " (program ? "the program" : header) "." >file
    print ".TH " escape(toupper(page)) " " section " \"" date "\" \"swift\\-selectors " version "\" \"" title "\"" >file
}

function literal(on) {
    if (on && !is_literal) {
        print ".PP\n.in +4n\n.nf" >file
        pending = 0
    }
    if (!on && is_literal) print ".fi\n.in" >file
    is_literal = on
}

function list(on) {
    if (!on && is_list) pending = 1
    is_list = on
}

# A paragraph begins, but not after a heading.
function begin() {
    if (pending) print ".PP" >file
    pending = 0
}

# Prints the lines of a comment from one on. Headings inside are made for the page of a whole header.
function body(from, headings,    i, line, text, words, starts) {
    is_literal = is_list = pending = 0
    starts = 1
    for (i = from; i <= count; i++) {
        line = comment[i]
        if (line == "") {
            # A blank line inside of what is shown as it is.
            if (is_literal && comment[i + 1] ~ /^    /) {
                print "" >file
                continue
            }
            literal(0)
            list(0)
            pending = 1
            starts = 1
            continue
        }
        if (line ~ /^  +-E[A-Z]+/) {
            literal(0)
            text = line
            sub(/^ +/, "", text)
            words = text
            sub(/ .*/, "", words)
            if (match(text, /^(-E[A-Z]+, )*-E[A-Z]+/)) words = substr(text, 1, RLENGTH)
            sub(/^(-E[A-Z]+, )*-E[A-Z]+ */, "", text)
            print ".TP\n.B " escape(words) >file
            pending = 0
            print (text == "" ? "\\&" : dress(text)) >file
            is_list = 1
        } else if (is_list && line ~ /^   /) {
            sub(/^ +/, "", line)
            print dress(line) >file
        } else if (line ~ /^    /) {
            list(0)
            literal(1)
            print escape(substr(line, 5)) >file
        } else {
            literal(0)
            list(0)
            if (line ~ /^Returns / && !returned && !headings) {
                print ".SH RETURN VALUE" >file
                pending = 0
                returned = 1
            }
            if (headings && starts && match(line, /^[A-Z][A-Za-z-]*( [a-z]+)?\. /)) {
                print ".SS " substr(line, 1, RLENGTH - 2) >file
                pending = 0
                line = substr(line, RLENGTH + 1)
            }
            begin()
            print dress(line) >file
        }
        starts = 0
    }
    literal(0)
    list(0)
}

# The first sentence, without its full stop, as one line.
function summary(    i, text) {
    text = ""
    for (i = 1; i <= count && comment[i] != ""; i++) text = text (i > 1 ? " " : "") comment[i]
    sub(/[.:;]( .*)?$/, "", text)
    if (match(text, /[.:;] /)) text = substr(text, 1, RSTART - 1)
    return tolower(substr(text, 1, 1)) substr(text, 2)
}

function see_also(name) {
    print ".SH SEE ALSO" >file
    if (name != "selectors") print ".BR selectors (7)" >file
    else print ".BR sel_open (3),\n.BR sel_register (3),\n.BR sel_select (3),\n.BR selectors_plugin (7),\n.BR selectors\\-backends (1),\n.BR selectors\\-conformance (1)" >file
    close(file)
}

function function_page(prototype,    name, text) {
    name = prototype
    sub(/\(.*/, "", name)
    sub(/.*[ *]/, "", name)
    returned = 0
    head(name, 3, "swift\\-selectors")
    print ".SH NAME\n" escape(name) " \\- " escape(summary()) >file
    print ".SH SYNOPSIS\n.nf\n.B #include <" header ">\n.PP" >file
    n = split(prototype, lines, "\n")
    for (i = 1; i <= n; i++) {
        text = escape(lines[i])
        print "\\fB" text "\\fP" >file
    }
    print ".PP\nLink with \\fI\\-lselectors\\fP.\n.fi\n.SH DESCRIPTION" >file
    body(1, 0)
    see_also(name)
}

function first_page(    name, from) {
    if (program) {
        if (sub(/^[a-z_]+\.c - /, "", comment[1]))
            comment[1] = toupper(substr(comment[1], 1, 1)) substr(comment[1], 2)
        head(program, 1, "User Commands")
        print ".SH NAME\n" escape(program) " \\- " escape(summary()) >file
        print ".SH DESCRIPTION" >file
        for (from = 1; from <= count; from++)
            if (comment[from] ~ /^    /) sub(called, program, comment[from])
        body(1, 0)
        see_also(program)
        return
    }
    name = header
    sub(/\.h$/, "", name)
    text = comment[1]
    sub(/^[a-z_]+\.h - /, "", text)
    sub(/\.$/, "", text)
    head(name, 7, "swift\\-selectors")
    print ".SH NAME\n" name " \\- " escape(text) >file
    print ".SH SYNOPSIS\n.B #include <" header ">\n.SH DESCRIPTION" >file
    body(3, 1)
    overview = file
}

/^\/\*/ {
    count = 0
    inside = $0 !~ /\*\/$/
    if ($0 != "/*") {
        comment[count = 1] = $0
        gsub(/^\/\* | \*\/$/, "", comment[1])
    }
    next
}
inside && /^ \*\/$/ {
    inside = 0
    while (count > 0 && (comment[count] == "" || comment[count] ~ /^SPDX/)) count--
    if (!first++) first_page()
    next
}
inside { line = $0; sub(/^ \*( |$)/, "", line); comment[++count] = line; next }

# A prototype may take several lines.
!program && /^(int|uint32_t|const char \*)[^;{]*sel_[a-z_]+\(/ { whole = $0 }
!program && whole != "" && whole != $0 { whole = whole "\n" $0 }
!program && whole ~ /;$/ { function_page(whole); whole = ""; count = 0; next }

# What else is defined is shown as it stands, after its comment; but for macros that end in _, which are
# the header's own.
!program && /^(#define SEL_|typedef struct|    |\} sel_)/ && !/^#define SEL_[A-Z_]*_(\(| |$)/ && header == "selectors.h" {
    for (i = 1; i <= count; i++)
        definitions = definitions (i == 1 ? "\n/* " : " * ") comment[i] (i == count ? " */" : "") "\n"
    count = 0
    definitions = definitions $0 "\n"
}

END {
    if (program) exit
    file = overview
    if (definitions != "") {
        print ".SH DEFINITIONS\n.nf" >>file
        n = split(definitions, lines, "\n")
        for (i = 1; i < n; i++) print escape(lines[i]) >>file
        print ".fi" >>file
    }
    close(file)
    print ".SH SEE ALSO" >>file
    if (header == "selectors.h") print ".BR sel_open (3),\n.BR sel_register (3),\n.BR sel_select (3),\n.BR selectors_plugin (7),\n.BR selectors\\-backends (1),\n.BR selectors\\-conformance (1)" >>file
    else print ".BR selectors (7),\n.BR sel_add_backend (3),\n.BR sel_load_plugin (3)" >>file
}
