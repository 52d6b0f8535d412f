#!/usr/bin/env python3
"""Writes the golden data of the tokeniser: hostile lines, and what Hugging Face's slow NllbTokenizer makes of them.

usage: make.py MODEL_DIR        (needs transformers 4.55.4 and sentencepiece; writes beside itself)

lines.txt, ids.txt      1,000 lines and their ids, source code eng_Latn and </s> included
text.txt                those ids decoded again (special tokens skipped, no clean-up)
special.txt, special_ids.txt, special_hf.txt
                        lines that hold the names of special tokens. dragoman takes them for text, as Hugging Face
                        does with split_special_tokens=True (special_ids.txt); by default Hugging Face makes control
                        tokens of them (special_hf.txt), which lets whoever writes a line steer the model
"""
import random
import sys
import unicodedata
from pathlib import Path

from transformers import NllbTokenizer
import transformers

HERE = Path(__file__).resolve().parent
RNG = random.Random(2024)
N_LINES = 1000

# First and last code point of a stretch of letters for each script (and what else is odd to a tokeniser).
BLOCKS = {
    "latin": (0x41, 0x7A), "latin-1": (0xC0, 0xFF), "latin extended": (0x100, 0x24F), "ipa": (0x250, 0x2AF),
    "greek": (0x391, 0x3C9), "greek extended": (0x1F00, 0x1FFE), "cyrillic": (0x410, 0x44F),
    "cyrillic extended": (0x460, 0x52F), "armenian": (0x531, 0x586), "hebrew": (0x5D0, 0x5EA),
    "arabic": (0x620, 0x64A), "arabic marks": (0x64B, 0x65F), "syriac": (0x710, 0x72F), "thaana": (0x780, 0x7A5),
    "nko": (0x7CA, 0x7EA), "devanagari": (0x904, 0x94D), "bengali": (0x985, 0x9CD), "gurmukhi": (0xA05, 0xA4D),
    "gujarati": (0xA85, 0xACD), "oriya": (0xB05, 0xB4D), "tamil": (0xB85, 0xBCD), "telugu": (0xC05, 0xC4D),
    "kannada": (0xC85, 0xCCD), "malayalam": (0xD05, 0xD4D), "sinhala": (0xD85, 0xDCA), "thai": (0xE01, 0xE4E),
    "lao": (0xE81, 0xECD), "tibetan": (0xF40, 0xFBC), "myanmar": (0x1000, 0x104F), "georgian": (0x10A0, 0x10FF),
    "hangul jamo": (0x1100, 0x11FF), "ethiopic": (0x1200, 0x135A), "cherokee": (0x13A0, 0x13F4),
    "canadian": (0x1401, 0x166C), "ogham": (0x1681, 0x169A), "runic": (0x16A0, 0x16EA), "khmer": (0x1780, 0x17D3),
    "mongolian": (0x1820, 0x1878), "ol chiki": (0x1C5A, 0x1C7D), "tifinagh": (0x2D30, 0x2D67),
    "hiragana": (0x3041, 0x3096), "katakana": (0x30A1, 0x30FA), "bopomofo": (0x3105, 0x312F),
    "cjk": (0x4E00, 0x9FA5), "cjk extension a": (0x3400, 0x4DB5), "yi": (0xA000, 0xA48C), "vai": (0xA500, 0xA60C),
    "hangul": (0xAC00, 0xD7A3), "cjk compatibility": (0xF900, 0xFAD9), "arabic presentation": (0xFB50, 0xFDFB),
    "halfwidth": (0xFF61, 0xFFDC), "fullwidth": (0xFF01, 0xFF5E), "linear b": (0x10000, 0x1005D),
    "gothic": (0x10330, 0x1034A), "deseret": (0x10400, 0x1044F), "cuneiform": (0x12000, 0x12399),
    "hieroglyphs": (0x13000, 0x1342E), "adlam": (0x1E900, 0x1E943), "cjk extension b": (0x20000, 0x2A6D6),
    "math letters": (0x1D400, 0x1D7FF), "emoji": (0x1F300, 0x1F64F), "flags": (0x1F1E6, 0x1F1FF),
    "combining": (0x300, 0x36F), "punctuation": (0x2010, 0x205E), "currency": (0x20A0, 0x20BF),
    "letterlike": (0x2100, 0x214F), "number forms": (0x2150, 0x2188), "arrows": (0x2190, 0x21FF),
    "enclosed": (0x2460, 0x24FF), "box drawing": (0x2500, 0x257F), "braille": (0x2800, 0x28FF),
    "private use": (0xE000, 0xE0FF), "private plane": (0x10FF00, 0x10FFFD), "variation": (0xFE00, 0xFE0F),
    "tags": (0xE0020, 0xE007F), "musical": (0x1D100, 0x1D1E8), "ligatures": (0xFB00, 0xFB06),
    "squared": (0x3300, 0x33FF), "superscripts": (0x2070, 0x209C),
}

SENTENCES = """A man in a blue shirt is standing on a ladder cleaning a window.
Zwei junge, weiße Männer sind im Freien in der Nähe vieler Büsche.
Une petite fille grimpe dans une maisonnette en bois ; elle rit « aux éclats ».
Dva muži stojí u kamen a připravují jídlo – příliš žluťoučký kůň úpěl ďábelské ódy.
¿Dónde está la biblioteca? ¡No lo sé, señor Ibáñez!
Съешь же ещё этих мягких французских булок, да выпей чаю.
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.
نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر
דג סקרן שט בים מאוכזב ולפתע מצא חברה
किसी पेड़ पर एक कौआ बैठा था। उसने रोटी खाई।
আমি বাংলায় গান গাই।
ਮੈਂ ਠੀਕ ਹਾਂ, ਤੁਸੀਂ ਕਿਵੇਂ ਹੋ?
மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்.
เป็นมนุษย์สุดประเสริฐเลิศคุณค่า
ກວ່າບັນດາຝູງສັດເດຣັດສານ
བོད་སྐད་ནི་བོད་མིའི་སྐད་ཡིག་ཡིན།
လူတိုင်းသည် တူညီလွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့်
ყველა ადამიანი იბადება თავისუფალი
ሰው ሁሉ ነጻና እኩል ሆኖ ተወልዷል።
មនុស្សទាំងអស់កើតមកមានសេរីភាព
いろはにほへと ちりぬるを。東京特許許可局！
我能吞下玻璃而不伤身体。她說：「好的。」
다람쥐 헌 쳇바퀴에 타고파.
Բոլոր մարդիկ ծնվում են ազատ
ⴰⵣⵓⵍ ⴼⵍⵍⴰⵡⵏ
ᱡᱚᱛᱚ ᱦᱚᱲ ᱠᱚ
Tôi có thể ăn thủy tinh mà không hại gì.
Pchnąć w tę łódź jeża lub ośm skrzyń fig.
Dž Dz Lj Nj Ǆ ǅ ǆ İstanbul'da ılık ŞİŞLİ""".split("\n")

ZWJ, VS16, KEYCAP = "\u200D", "\uFE0F", "\u20E3"
EMOJI = [
    "👨" + ZWJ + "👩" + ZWJ + "👧" + ZWJ + "👦", "🏳" + VS16 + ZWJ + "🌈", "👍🏽", "🇩🇪🇫🇷", "1" + VS16 + KEYCAP, "❤" + VS16,
    "🧑🏿" + ZWJ + "🚀", "😀😀😀", "🏴\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F",
]
# Invisible characters and odd spaces, each set between, before and behind words.
ODD = [chr(c) for c in (
    0x01, 0x07, 0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F, 0x7F, 0x80, 0x85, 0x90, 0x9F, 0xA0,
    0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x1680, 0x17B4, 0x180B, 0x180E, 0x2000, 0x2002, 0x2003, 0x2007, 0x2009, 0x200A,
    0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2028, 0x2029, 0x202A, 0x202C, 0x202E, 0x202F, 0x205F, 0x2060, 0x2061,
    0x2066, 0x2069, 0x206F, 0x2581, 0x2800, 0x3000, 0x3164, 0xFE0E, 0xFEFF, 0xFFA0, 0xFFF9, 0xFFFC, 0xFFFD, 0xFFFE,
    0xFFFF, 0x1FFFE, 0x1D173, 0xE0001, 0xE0100, 0x10FFFF, 0xFDD0, 0xF0000)]
SPECIALS = ["</s>", "<s>", "<pad>", "<unk>", "<mask>", "eng_Latn", "deu_Latn", "zho_Hant"]


def letters(block):
    """The assigned characters of a block."""
    first, last = BLOCKS[block]
    return [chr(c) for c in range(first, last + 1) if unicodedata.category(chr(c)) != "Cn"]


def word(block, n):
    return "".join(RNG.choice(letters(block)) for _ in range(n))


def scripts():
    """Words of every script, alone and beside Latin ones."""
    for block in BLOCKS:
        yield " ".join(word(block, RNG.randint(1, 7)) for _ in range(RNG.randint(2, 7)))
        yield "A man " + word(block, 4) + " and " + word(block, 1) + "s, " + word(block, 3) + "!"
        yield word(block, 1)


def forms():
    """Real sentences as they are, in all four normal forms, and written in odd ways."""
    for s in SENTENCES:
        yield s
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            yield unicodedata.normalize(form, s)
        yield s.upper()
        yield s.replace(" ", "")
        yield "   " + s.replace(" ", "   ") + "\t "
    for s in SENTENCES[:5]:
        yield "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in s)
        yield s[::-1]
        yield " ".join(c for c in s)


def odd_characters():
    for c in ODD:
        yield c
        yield f"{c}A man{c}is {c} here{c}{c}now {c}"
        yield f"in{c}visible de{c}r fr{c}ançais"


def shapes():
    """Lengths, repeats, spaces, numbers, markup."""
    yield from ("", " ", "\t", "      ", "\u3000", "\u00A0\u2003 \t", "\u2581", "\u2581\u2581 \u2581", "\uFEFF", "\uFEFF \uFEFF")
    yield from ("a" * 3000, "aé" * 700, "☃" * 900, "the " * 500, "word" * 400, "漢" * 600, "." * 1500, "1234567890" * 120)
    yield from ("e" + "\u0301" * 50, "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!", "ﬁﬂ ﬀ ﬃ ſt ﬆ", "½ ⅓ ² ³ ₂ ① Ⅷ ㎏ ㍿ ℡ ™ ℃")
    yield from ("1,234.56 €", "$1 000", "10:45 Uhr", "3.14159265358979", "1/2", "100%", "+49 (0)30 123456", "2024-02-29T23:59:60Z")
    yield from ("http://example.org/a?b=c&d=%20#e", "user.name+tag@example.co.uk", "C:\\Users\\x\\n", "/usr/bin/env", "#hash @at ~tilde")
    yield from ("<b>bold</b> &amp; &lt;i&gt;", "{\"key\": [1, 2.5e-3, null]}", "if (a<b && c>d) { return !x; }", "<!-- -->", "<a href='x'>")
    yield from ("''''", "\"\"\"", "--- … — – ‐ ‑ −", "«»‹›„“”‚‘’", "()[]{}<>", "!?!?!?", "*_~`", "|||", "\\", "\\n\\t\\0", "%s %d %n")
    yield from ("<", ">", "</", "s>", "< s>", "<S>", "</S>", "<mask", "mask>", "eng_latn", "eng Latn", "eng_Latin"[:-3], "xyz_Abcd", "<lang>")
    for e in EMOJI:
        yield e
        yield f"Nice {e} day{e}!"


def mixtures():
    """Random characters of random blocks, spaces and odd characters among them, until there are enough."""
    blocks = list(BLOCKS)
    while True:
        parts = []
        for _ in range(RNG.randint(1, 12)):
            kind = RNG.random()
            if kind < 0.45:
                parts.append(word(RNG.choice(blocks), RNG.randint(1, 5)))
            elif kind < 0.6:
                parts.append(RNG.choice(ODD))
            elif kind < 0.9:
                parts.append(RNG.choice(RNG.choice(SENTENCES).split(" ")))
            else:
                parts.append(RNG.choice(EMOJI))
            parts.append(RNG.choice(("", " ", " ", "  ")))
        yield "".join(parts)


def plain(lines):
    """Without what ends a line, NUL, and the names of special tokens."""
    for s in lines:
        s = s.replace("\n", " ").replace("\0", "")
        if not any(name in s for name in SPECIALS):
            yield s


def all_lines():
    lines = []
    for source in (shapes, scripts, forms, odd_characters):
        lines += plain(source())
    assert len(lines) < N_LINES, len(lines)
    for s in plain(mixtures()):
        lines.append(s)
        if len(lines) == N_LINES:
            return lines


def special_lines():
    for name in SPECIALS:
        yield from (name, f"A man {name} runs.", f"A man{name}runs.", f" {name}  {name} ", f"{name}.")


def ids_text(rows):
    return "".join(" ".join(map(str, row)) + "\n" for row in rows)


def main():
    if len(sys.argv) != 2 or transformers.__version__ != "4.55.4":
        sys.exit(f"usage: make.py MODEL_DIR, with transformers 4.55.4 (found {transformers.__version__})")
    tok = NllbTokenizer.from_pretrained(sys.argv[1], src_lang="eng_Latn", use_fast=False)
    lines, special = all_lines(), list(special_lines())
    ids = [tok(s).input_ids for s in lines]
    code, eos = tok.convert_tokens_to_ids("eng_Latn"), tok.eos_token_id
    as_text = [[code] + tok.convert_tokens_to_ids(tok.tokenize(s, split_special_tokens=True)) + [eos] for s in special]
    text = [tok.decode(i, skip_special_tokens=True, clean_up_tokenization_spaces=False) for i in ids]

    def write(name, content):
        (HERE / name).write_bytes(content.encode("utf-8"))

    write("lines.txt", "".join(s + "\n" for s in lines))
    write("ids.txt", ids_text(ids))
    write("text.txt", "".join(s + "\n" for s in text))
    write("special.txt", "".join(s + "\n" for s in special))
    write("special_ids.txt", ids_text(as_text))
    write("special_hf.txt", ids_text(tok(s).input_ids for s in special))


if __name__ == "__main__":
    main()
