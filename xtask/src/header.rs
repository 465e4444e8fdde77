//! What `include/dss.h` says: its functions, structs and macros, each with the text of its comment.

/// Something that is declared, below its comment.
pub struct Declaration {
    pub name: String,
    /// As it stands in the header, without the comment.
    pub text: String,
    pub comment: Comment,
}

/// A struct's fields have comments of their own.
pub struct Struct {
    pub declared: Declaration,
    pub fields: Vec<Declaration>,
}

#[derive(Default)]
pub struct Comment {
    pub lines: Vec<String>,
    /// Each parameter's name and text.
    pub parameters: Vec<(String, String)>,
    /// What is returned where the call does what it should.
    pub returns: String,
    /// Errnos, several of one cause perhaps, and the text about them.
    pub errors: Vec<(String, String)>,
}

pub struct Header {
    pub functions: Vec<Declaration>,
    pub callbacks: Vec<Declaration>,
    pub macros: Vec<Declaration>,
    pub structs: Vec<Struct>,
    /// The part of the introduction that tells the errors of every call.
    pub errors: Vec<String>,
}

impl Header {
    pub fn read(text: &str) -> Header {
        let mut header = Header {
            functions: Vec::new(),
            callbacks: Vec::new(),
            macros: Vec::new(),
            structs: Vec::new(),
            errors: introduction(text, "ERRORS OF EVERY CALL"),
        };
        let mut rest = text;
        while let Some((lines, declared, behind)) = next(rest) {
            let comment = Comment::read(&lines);
            if let Some(name) = declared.strip_prefix("#define ") {
                let name = name.split(' ').next().unwrap_or_default().to_owned();
                header.macros.push(Declaration { name, text: declared, comment });
            } else if let Some(name) = declared.strip_prefix("struct ").filter(|_| declared.contains('{')) {
                let name = name.split(' ').next().unwrap_or_default().to_owned();
                let fields = fields(&declared);
                let text = without_comments(&declared);
                header.structs.push(Struct { declared: Declaration { name, text, comment }, fields });
            } else if let Some(name) = declared.strip_prefix("typedef int (*") {
                let name = name.split(')').next().unwrap_or_default().to_owned();
                header.callbacks.push(Declaration { name, text: declared, comment });
            } else if let Some(open) = declared.find('(') {
                let name = declared[..open].rsplit([' ', '*']).next().unwrap_or_default().to_owned();
                header.functions.push(Declaration { name, text: declared, comment });
            }
            rest = behind;
        }
        header
    }

    /// The macros whose comments begin with "struct.field:" of that struct.
    pub fn macros_of(&self, structure: &str) -> Vec<(&Declaration, String)> {
        let of = |declared: &Declaration| {
            let (place, text) =
                paragraph(&declared.comment.lines).split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned()))?;
            place.starts_with(&format!("{structure}.")).then_some(text)
        };
        self.macros.iter().filter_map(|declared| Some((declared, of(declared)?))).collect()
    }
}

/// The next comment at the margin, what is declared below it, and what follows.
fn next(text: &str) -> Option<(Vec<String>, String, &str)> {
    let begin = text.find("\n/**\n")? + 5;
    let end = begin + text[begin..].find("\n */\n")?;
    let lines = text[begin..end].lines().map(|line| line.trim_start_matches(" *").to_owned());
    let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(&line).to_owned()).collect();
    let declared = &text[end + 5..];
    let length = if declared.starts_with('#') {
        declared.find('\n')?
    } else if declared.starts_with("struct ") && declared.find('{') < declared.find(';') {
        declared.find("\n};")? + 3
    } else {
        declared.find(';')? + 1
    };
    // The newline belongs to what follows: a comment begins behind one.
    Some((lines, declared[..length].to_owned(), &declared[length..]))
}

fn fields(declared: &str) -> Vec<Declaration> {
    let parts = declared.split("    /**\n").skip(1).filter_map(|part| part.split_once("     */\n"));
    let field = |(comment, rest): (&str, &str)| {
        let text = rest.lines().next().unwrap_or_default().trim().trim_end_matches(';').to_owned();
        let name = text.rsplit([' ', '*']).next().unwrap_or_default().split('[').next().unwrap_or_default().to_owned();
        let lines = comment.lines().map(|line| line.trim_start_matches(' ').trim_start_matches("* ").to_owned());
        Declaration { name, text, comment: Comment { lines: lines.collect(), ..Comment::default() } }
    };
    parts.map(field).collect()
}

fn without_comments(declared: &str) -> String {
    declared.lines().filter(|line| !line.trim_start().starts_with(['/', '*'])).collect::<Vec<_>>().join("\n")
}

/// Lines as one text.
pub fn paragraph(lines: &[String]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

impl Comment {
    fn read(lines: &[String]) -> Comment {
        let mut comment = Comment::default();
        let mut lines = lines.iter().peekable();
        while let Some(line) = lines.next_if(|line| !line.starts_with('@')) {
            comment.lines.push(line.clone());
        }
        while let Some(line) = lines.next() {
            let mut text = vec![line.clone()];
            while let Some(more) = lines.next_if(|line| !line.starts_with('@')) {
                text.push(more.clone());
            }
            if let Some(parameter) = line.strip_prefix("@param") {
                let name = parameter.split(' ').find(|word| !word.is_empty() && !word.starts_with('['));
                let name = name.unwrap_or_default().to_owned();
                let whole = paragraph(&text);
                let about = whole.split_once(&format!(" {name} ")).map_or("", |(_, about)| about.trim());
                comment.parameters.push((name, about.to_owned()));
            } else if line.starts_with("@return") {
                comment.read_returns(&text);
            }
        }
        comment
    }

    /// An errno at the beginning of a line begins an item.
    fn read_returns(&mut self, lines: &[String]) {
        let mut items: Vec<Vec<String>> = vec![Vec::new()];
        for line in lines {
            let line = line.trim_start_matches("@return").trim();
            if line.starts_with("-E") {
                items.push(Vec::new());
            }
            items.last_mut().expect("there is a first").push(line.to_owned());
        }
        let mut items = items.iter().map(|item| paragraph(item));
        self.returns = items.next().unwrap_or_default();
        self.errors = items.map(|item| errnos(&item)).collect();
    }
}

/// The errnos at the beginning of an item, and what is said of them.
fn errnos(item: &str) -> (String, String) {
    let is_name = |word: &str| word.starts_with("-E") || word.starts_with("(E");
    let length: usize = item.split_inclusive(' ').take_while(|word| is_name(word)).map(str::len).sum();
    let (names, text) = item.split_at(length);
    (names.trim().trim_end_matches([',', ':', '.']).to_owned(), text.trim().to_owned())
}

/// A part of the comment at the top, below its title.
fn introduction(text: &str, title: &str) -> Vec<String> {
    let top = text.split("*/").next().unwrap_or_default();
    let part = top.split(&format!(" * {title}\n")).nth(1).unwrap_or_default();
    let lines = part.lines().skip(1).map(|line| line.trim_start_matches(" *"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned()).collect()
}
