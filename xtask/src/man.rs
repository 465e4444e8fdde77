//! Manual pages of section 3, one for each function of the header, in the language of groff_man(7). The header is what they
//! say; man/examples has a program for each.

use super::header::{Comment, Declaration, Header, Struct, paragraph};
use std::{fs, path::Path};

/// The pages' names and texts.
pub fn pages(header: &Header, root: &Path, version: &str) -> Vec<(String, String)> {
    let date = date(root);
    let title = |name: &str| format!(".TH {name} 3 {date} \"libdss {version}\" \"Library Functions Manual\"\n");
    let made = ".\\\" Made from include/dss.h and man/examples by xtask: do not edit.\n";
    let mut pages: Vec<(String, String)> = Vec::new();
    for function in &header.functions {
        let example = fs::read_to_string(root.join(format!("man/examples/{}.c", function.name))).unwrap_or_default();
        let page = with_limits(header, page_of(header, function, &example));
        pages.push((format!("{}.3", function.name), format!("{made}{}{page}", title(&function.name))));
    }
    pages.push(("dss_errors.3".into(), format!("{made}{}{}", title("dss_errors"), page_of_errors(header))));
    pages
}

/// What a limit is, beside its name.
fn with_limits(header: &Header, page: String) -> String {
    let is_limit = |declared: &&Declaration| declared.name.contains("_MAX") || declared.name.contains("_MIN");
    header.macros.iter().filter(is_limit).fold(page, |page, declared| {
        let name = format!("\\fB{}\\fR", declared.name);
        let value = declared.text.rsplit(' ').next().unwrap_or_default();
        page.replace(&name, &format!("{name} ({value})"))
    })
}

/// That of the page which is written by hand.
fn date(root: &Path) -> String {
    let page = fs::read_to_string(root.join("man/dss.7")).unwrap_or_default();
    let line = page.lines().find_map(|line| line.strip_prefix(".TH DSS 7 ")).unwrap_or_default();
    line.split(' ').next().unwrap_or_default().to_owned()
}

fn page_of(header: &Header, function: &Declaration, example: &str) -> String {
    let Declaration { name, text, comment } = function;
    let first =
        first_sentence(&paragraph(&comment.lines[..comment.lines.iter().take_while(|line| !line.is_empty()).count()]));
    let mut page = format!(".SH NAME\n{name} \\- {}\n", plain(&lower(&first)));
    page += ".SH LIBRARY\nDistributed State Service (libdss, \\-ldss)\n.SH SYNOPSIS\n.nf\n.B #include <dss.h>\n.PP\n";
    page += &format!("{}.fi\n.SH DESCRIPTION\n{}", prototype(text), body(&comment.lines, comment));
    if !comment.parameters.is_empty() {
        page += ".SH PARAMETERS\n";
        comment.parameters.iter().for_each(|(name, about)| page += &item(&format!(".I {name}"), about, comment));
    }
    structs_of(header, text).into_iter().for_each(|structure| page += &structure_part(header, structure));
    if !comment.returns.is_empty() {
        page += &format!(".SH RETURN VALUE\n{}\n", running(&sentence(&comment.returns), comment));
    }
    if !comment.errors.is_empty() {
        page += ".SH ERRORS\n";
        comment.errors.iter().for_each(|(names, about)| page += &error(names, about, comment));
    }
    if !example.is_empty() {
        page += &format!(".SH EXAMPLES\n.EX\n{}.EE\n", verbatim(example));
    }
    page + &see_also(header, function)
}

fn page_of_errors(header: &Header) -> String {
    let none = Comment::default();
    let text = body(&header.errors, &none);
    format!(
        ".SH NAME\ndss_errors \\- errors that every call of libdss can return\n.SH LIBRARY\nDistributed State Service (libdss, \\-ldss)\n\
         .SH SYNOPSIS\n.nf\n.B #include <dss.h>\n.fi\n.SH DESCRIPTION\n{text}.SH SEE ALSO\n.BR dss_last_error (3),\n\
         .BR dss_strerror (3),\n.BR dss (7)\n"
    )
}

/// A struct that the function takes or gives, its fields, and the macros that they are made of.
fn structure_part(header: &Header, structure: &Struct) -> String {
    let Struct { declared, fields } = structure;
    let mut part = format!(".SH \"struct {}\"\n{}", declared.name, body(&declared.comment.lines, &declared.comment));
    part += &format!(".PP\n.EX\n{}\n.EE\n", verbatim(&declared.text).trim_end());
    for field in fields {
        part += &item(&format!(".I {}", field.name), &paragraph(&field.comment.lines), &declared.comment);
    }
    for (declared, text) in header.macros_of(&declared.name) {
        let value = declared.text.rsplit(' ').next().unwrap_or_default();
        part += &item(&format!(".BR {} \" ({value})\"", declared.name), &upper(&text), &declared.comment);
    }
    part
}

/// The structs in a prototype, but the handle, and that which a callback gets.
fn structs_of<'a>(header: &'a Header, prototype: &str) -> Vec<&'a Struct> {
    let callbacks = header.callbacks.iter().filter(|callback| prototype.contains(&format!("{} ", callback.name)));
    let whole = callbacks.fold(prototype.to_owned(), |whole, callback| whole + &callback.text);
    let is_named = |structure: &&Struct| whole.contains(&format!("struct {} ", structure.declared.name));
    header.structs.iter().filter(is_named).filter(|structure| structure.declared.name != "dss_handle").collect()
}

/// What the comment and the structs mention, and the two general pages.
fn see_also(header: &Header, function: &Declaration) -> String {
    let comment = &function.comment;
    let about = comment.parameters.iter().chain(&comment.errors).map(|(_, text)| text);
    let whole: String =
        comment.lines.iter().chain(about).chain([&comment.returns]).map(|text| format!("{text}\n")).collect();
    let mentioned = |other: &&Declaration| other.name != function.name && whole.contains(&format!("{}()", other.name));
    let mut names: Vec<String> =
        header.functions.iter().filter(mentioned).map(|other| format!("{} (3)", other.name)).collect();
    names.extend(["dss_errors (3)".to_owned(), "dss (7)".to_owned()]);
    format!(".SH SEE ALSO\n.BR {}\n", names.join(",\n.BR "))
}

/// Bold, with a parameter on each line where it is long.
fn prototype(text: &str) -> String {
    let one = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if one.len() <= 70 {
        return format!(".B {}\n", verbatim_line(&one));
    }
    let (head, parameters) = one.split_once('(').unwrap_or((&one, ""));
    let lines = parameters.split(", ").collect::<Vec<_>>();
    let last = lines.len() - 1;
    let line = |(place, parameter): (usize, &&str)| {
        let open = if place == 0 { format!("{head}(\n.B \"    ") } else { ".B \"    ".into() };
        format!("{open}{}{}\"\n", verbatim_line(parameter), if place == last { "" } else { "," })
    };
    ".B ".to_owned() + &lines.iter().enumerate().map(line).collect::<String>()
}

/// Paragraphs, tables of a word and a text, and code.
fn body(lines: &[String], comment: &Comment) -> String {
    let mut text = String::new();
    let mut lines = lines.iter().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let is_indented = line.starts_with("    ");
        let mut block = vec![line.clone()];
        while let Some(more) = lines.next_if(|more| !more.is_empty() && more.starts_with("    ") == is_indented) {
            block.push(more.clone());
        }
        text += &match rows(&block).filter(|_| is_indented) {
            Some(rows) => rows
                .iter()
                .map(|(head, about)| item(&format!(".B {}", verbatim_line(&quoted(head))), about, comment))
                .collect(),
            None if is_indented => {
                let code: String = block.iter().map(|line| line.trim_start_matches("    ").to_owned() + "\n").collect();
                format!(".PP\n.EX\n{}.EE\n", verbatim(&code))
            }
            None => format!(".PP\n{}\n", running(&paragraph(&block), comment)),
        };
    }
    // A section begins with a paragraph anyway.
    text.strip_prefix(".PP\n").unwrap_or(&text).to_owned()
}

/// Lines of a word, spaces, and a text, which goes on in lines that begin with more spaces.
fn rows(block: &[String]) -> Option<Vec<(String, String)>> {
    let mut rows: Vec<(String, String)> = Vec::new();
    for line in block {
        let line = line.strip_prefix("    ")?;
        let split = line.rfind("   ").or_else(|| line.starts_with('-').then(|| line.find("  ")).flatten());
        match (split, rows.last_mut()) {
            (_, Some((_, about))) if line.starts_with(' ') => *about = format!("{about} {}", line.trim()),
            (Some(split), _) => rows.push((line[..split].trim().to_owned(), line[split..].trim().to_owned())),
            // Several errnos, whose text begins in the next line.
            (None, _) if line.starts_with("-E") => rows.push((line.trim().to_owned(), String::new())),
            (None, _) => return None,
        }
    }
    Some(rows)
}

fn item(head: &str, about: &str, comment: &Comment) -> String {
    format!(".TP\n{head}\n{}\n", running(about.trim(), comment))
}

fn error(names: &str, about: &str, comment: &Comment) -> String {
    let head = format!(".B {}", quoted(names).replace('-', "\\-"));
    let about = about.strip_prefix("and others: ").unwrap_or(about);
    let Some(more) = about.strip_prefix("see \"ERRORS OF EVERY CALL\" above") else {
        return item(&head, &sentence(about), comment);
    };
    match more.strip_prefix("; ") {
        Some(more) => format!(".TP\n{head}\nand others: see\n.BR dss_errors (3);\n{}\n", running(more, comment)),
        None => format!(".TP\n{head}\nand others: see\n.BR dss_errors (3).\n"),
    }
}

fn quoted(text: &str) -> String {
    if text.contains(' ') { format!("\"{text}\"") } else { text.to_owned() }
}

fn first_sentence(text: &str) -> String {
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.').to_owned()
}

/// As a sentence of its own: a list's commas are no ends.
fn sentence(text: &str) -> String {
    format!("{}.", upper(text.trim_end_matches([',', '.', ':'])))
}

fn upper(text: &str) -> String {
    // A name is written as it is.
    if text.split(' ').next().is_some_and(|word| word.contains('_')) {
        return text.to_owned();
    }
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().collect::<String>() + letters.as_str())
}

/// Text with the names in it marked: calls, macros and errnos bold, parameters italic.
fn running(text: &str, comment: &Comment) -> String {
    let text = text.replace("\\a ", "").replace("See \"KEEPALIVE\" above", "See dss(7)");
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut out = String::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let is_errno = rest.starts_with("-E")
            && rest[2..].starts_with(|letter: char| letter.is_ascii_uppercase() || letter == '2');
        let skipped = usize::from(is_errno);
        let length = skipped + rest[skipped..].find(|letter| !is_letter(letter)).unwrap_or(rest.len() - skipped);
        if length == 0 {
            let next = rest.chars().next().map_or(0, char::len_utf8);
            out += &plain(&rest[..next]);
            rest = &rest[next..];
            continue;
        }
        let word = &rest[..length];
        let is_parameter = word.contains('_') && comment.parameters.iter().any(|(name, _)| name == word);
        let is_name = is_errno || word.starts_with("DSS_") || word.starts_with("dss_");
        let marked = match (is_name, is_parameter) {
            (true, _) => Some(format!("\\fB{}\\fR", word.replace('-', "\\-"))),
            (_, true) => Some(format!("\\fI{word}\\fR")),
            _ => None,
        };
        if marked.is_some() {
            // Names are not hyphenated: \% at the start of a word says so, and elsewhere that a hyphen may come there.
            out.insert_str(out.trim_end_matches('(').len(), "\\%");
        }
        out += marked.as_deref().unwrap_or(word);
        rest = &rest[length..];
    }
    // A line that begins with a dot or a quote would be a request.
    if out.starts_with(['.', '\'']) { format!("\\&{out}") } else { out }
}

/// Text without marks.
fn plain(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

fn verbatim_line(line: &str) -> String {
    line.replace('\\', "\\e").replace('-', "\\-")
}

fn verbatim(code: &str) -> String {
    let line = |line: &str| {
        let line = verbatim_line(line);
        if line.starts_with(['.', '\'']) { format!("\\&{line}\n") } else { format!("{line}\n") }
    };
    code.lines().map(line).collect()
}
