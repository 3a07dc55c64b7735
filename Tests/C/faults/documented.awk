# Lists the errors that the headers document for each function: {"sel_open", " EINVAL ENOENT "},

/^\/\*/ { text = "" }
/^[ \/]\*/ { text = text " " $0; next }
/^(int|const char \*) ?sel_[a-z_]+\(/ {
    name = $0
    sub(/\(.*/, "", name)
    sub(/.*[ *]/, "", name)
    errors[name] = ""
    if (!sub(/.*Returns /, "", text)) text = ""
    while (match(text, /-E[A-Z0-9]+|what sel_[a-z_]+\(\)/)) {
        word = substr(text, RSTART, RLENGTH)
        text = substr(text, RSTART + RLENGTH)
        if (sub(/^-/, "", word)) {
            errors[name] = errors[name] " " word
        } else {
            gsub(/what |\(\)/, "", word)
            errors[name] = errors[name] errors[word]
        }
    }
    printf "{\"%s\", \"%s \"},\n", name, errors[name]
}
