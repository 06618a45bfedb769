"""The faults that R4 itself finds, in French: each English sentence of schema.py, rules.py and narrative.py with its translation.

https://hl7.org/fhir/R4/validation.html
A sentence that is not listed stays in English; a test walks thousands of broken resources and finds none.
"""

import re
from functools import cache

from fhir_dmp.errors import Issue

# English, French; {a}, {b}, {c} stand for the same words in both, translated in their turn where PARTS lists them.
SENTENCES: tuple[tuple[str, str], ...] = (
    ("no fault was found", "aucun défaut trouvé"),
    ("no such resource", "cette ressource n'existe pas"),
    ("the resource was deleted", "la ressource a été supprimée"),
    ("this access is refused", "cet accès est refusé"),
    (
        "this request needs an access token: `Authorization: Bearer ...`",
        "cette requête demande un jeton d'accès : `Authorization: Bearer ...`",
    ),
    (
        "the current version is not the one named by If-Match; read it again and repeat",
        "la version actuelle n'est pas celle de If-Match ; relire et recommencer",
    ),
    ("a dossier is opened by the operation Patient/$open", "un dossier s'ouvre par l'opération Patient/$open"),
    ("notices are written by the server alone", "les avis ne sont écrits que par le serveur"),
    ("more than {a} faults; the others are not listed", "plus de {a} défauts ; les autres sont omis"),
    ("a resource must be a JSON object", "une ressource doit être un objet JSON"),
    (
        "resourceType is {a} but {b} is expected here; send it to the address of its type",
        "resourceType vaut {a} mais {b} est attendu ici ; l'envoyer à l'adresse de son type",
    ),
    ("the resource is nested too deeply; 64 levels are allowed", "la ressource est trop profonde ; 64 niveaux sont admis"),
    ("`resourceType` is required; name the type of the resource", "`resourceType` est exigé ; nommer le type de la ressource"),
    ("the resource has no `resourceType`", "la ressource n'a pas de `resourceType`"),
    ("`{a}` is not a FHIR R4 resource type", "`{a}` n'est pas un type de ressource FHIR R4"),
    ("{a} is not an R4 resource type; did you mean {b}?", "{a} n'est pas un type de ressource R4 ; vouliez-vous dire {b} ?"),
    ("{a} is not an R4 resource type", "{a} n'est pas un type de ressource R4"),
    ("the address names {a}, the body is a {b}", "l'adresse nomme {a}, le corps est un {b}"),
    ("the address names {a}, the body {b}", "l'adresse nomme {a}, le corps {b}"),
    ("the body of an update must carry its id, here {a}", "le corps d'une modification doit porter son id, ici {a}"),
    ("a resource may take {a} bytes, this one takes {b}", "une ressource peut prendre {a} octets, celle-ci en prend {b}"),
    (
        "a resource may belong to one patient only; this one names several",
        "une ressource ne peut appartenir qu'à un patient ; celle-ci en nomme plusieurs",
    ),
    (
        "a resource cannot move to the dossier of another patient",
        "une ressource ne peut passer au dossier d'un autre patient",
    ),
    (
        "a contained resource needs an `id` to be referred to; add one",
        "une ressource contenue a besoin d'un `id` pour être désignée ; en ajouter un",
    ),
    (
        "a contained resource must not contain others; put them side by side in the outer resource",
        "une ressource contenue ne doit pas en contenir d'autres ; les mettre côte à côte dans la ressource extérieure",
    ),
    (
        "a contained resource has no security labels of its own; label the outer resource",
        "une ressource contenue n'a pas d'étiquettes propres ; étiqueter la ressource extérieure",
    ),
    (
        "the id {a} is used by another contained resource; give each its own",
        "l'id {a} est déjà celui d'une autre ressource contenue ; en donner un à chacune",
    ),
    (
        "a fault lies beyond the first {a} values of this resource; send fewer at a time to learn where",
        "un défaut se trouve au-delà des {a} premières valeurs de cette ressource ; en envoyer moins pour savoir où",
    ),
    (
        "at least one coding must come from the value set {a}, with its system",
        "au moins un codage doit venir du jeu de valeurs {a}, avec son système",
    ),
    ("an empty string is not a code; use one of {a}", "une chaîne vide n'est pas un code ; employer l'un de {a}"),
    ("{a} is not one of the codes allowed here: {b}", "{a} n'est pas un des codes admis ici : {b}"),
    ("{a} is not a valid {b}: it must be {c}", "{a} n'est pas un {b} valable : il faut {c}"),
    ("{a} is not a valid {b}: write it without fraction or exponent", "{a} n'est pas un {b} valable : l'écrire sans fraction ni exposant"),
    (
        "a string may hold at most 1 MB; put longer content into an Attachment or a Binary",
        "une chaîne contient au plus 1 Mo ; mettre un contenu plus long dans un Attachment ou un Binary",
    ),
    ("an array must not be empty; leave the element out instead", "un tableau ne doit pas être vide ; omettre l'élément"),
    ("an object must not be empty; leave the element out instead", "un objet ne doit pas être vide ; omettre l'élément"),
    ("the rule {a} of {b} is broken here", "la règle {a} de {b} est enfreinte ici"),
    ("`{a}` is required here; add it", "`{a}` est exigé ici ; à ajouter"),
    ("{a} is not an element of {b}; only resources have it", "{a} n'est pas un élément de {b} ; seules les ressources l'ont"),
    (
        "{a} is not an element of {b}; `{c}` cannot have an id or extensions of its own",
        "{a} n'est pas un élément de {b} ; `{c}` ne peut avoir ni id ni extensions propres",
    ),
    (
        "{a} is not an element of {b}; write its type too: {c} or another",
        "{a} n'est pas un élément de {b} ; écrire aussi son type : {c} ou un autre",
    ),
    ("{a} is not an element of {b}; write its type too: {c}", "{a} n'est pas un élément de {b} ; écrire aussi son type : {c}"),
    ("{a} is not an element of {b}; did you mean {c}?", "{a} n'est pas un élément de {b} ; vouliez-vous dire {c} ?"),
    (
        "{a} is not an element of {b}; remove it or use an extension",
        "{a} n'est pas un élément de {b} ; le retirer ou employer une extension",
    ),
    ("{a} is not an element of {b} here; remove it", "{a} n'est pas un élément de {b} ici ; le retirer"),
    ("null is not allowed here; leave the element out", "null n'est pas admis ici ; omettre l'élément"),
    (
        "this element repeats, so it must be a JSON array, also when it has one item",
        "cet élément se répète : il doit être un tableau JSON, même pour une seule valeur",
    ),
    (
        "this element does not repeat, so it must not be a JSON array",
        "cet élément ne se répète pas : il ne doit pas être un tableau JSON",
    ),
    ("this must be {a} ({b}), not {c}", "il faut ici {a} ({b}), et non {c}"),
    ("this must be {a}, not {b}", "il faut ici {a}, et non {b}"),
    ("this must be {a}", "il faut ici {a}"),
    (
        "an element needs a value or children besides its `id`; add them or leave the element out",
        "un élément a besoin d'une valeur ou de sous-éléments en plus de son `id` ; les ajouter ou omettre l'élément",
    ),
    (
        "an extension needs a value or nested extensions; add one of them",
        "une extension a besoin d'une valeur ou d'extensions imbriquées ; ajouter l'une ou les autres",
    ),
    (
        "an extension has either a value or nested extensions, not both; remove one of them",
        "une extension a une valeur ou des extensions imbriquées, pas les deux ; retirer l'une ou les autres",
    ),
    ("only one of {a} may be present; keep one", "un seul de {a} peut être présent ; n'en garder qu'un"),
    ("`{a}[x]` is required; add one of its types, such as {b}", "`{a}[x]` est exigé ; ajouter un de ses types, comme {b}"),
    (
        "a decimal may have at most 128 digits and an exponent within ±6144; write it shorter",
        "un décimal a au plus 128 chiffres et un exposant de ±6144 ; l'écrire plus court",
    ),
    (
        "{a} and {b} must have the same length; fill the shorter one with null",
        "{a} et {b} doivent avoir la même longueur ; compléter par null",
    ),
    (
        "null stands only where {a} has an extension at the same position; remove it or give a value",
        "null n'est admis que là où {a} a une extension à la même position ; le retirer ou donner une valeur",
    ),
    ("null in {a} needs a value at the same position of {b}", "null dans {a} demande une valeur à la même position de {b}"),
    ("{a} names a {b}; this element may refer only to {c}", "{a} désigne un {b} ; cet élément ne peut désigner que {c}"),
    ("`type` says {a} but {b} names a {c}; make them agree", "`type` dit {a} mais {b} désigne un {c} ; les accorder"),
    ("this element may refer only to {a}, not to a {b}", "cet élément ne peut désigner que {a}, et non un {b}"),
    (
        "{a} names no contained resource; contain it or correct the reference",
        "{a} ne désigne aucune ressource contenue ; corriger la référence",
    ),
    (
        "{a} is no reference; write Type/id, a whole address, `#id` of a contained resource, or a urn",
        "{a} n'est pas une référence ; écrire Type/id, une adresse entière, `#id` d'une ressource contenue, ou un urn",
    ),
    (
        "{a} is not a reference to a resource: {b} is not an R4 resource type",
        "{a} ne désigne pas une ressource : {b} n'est pas un type de ressource R4",
    ),
    (
        "a document type, an entity, CDATA or a processing instruction is not allowed in a narrative",
        "un type de document, une entité, CDATA ou une instruction de traitement n'est pas admis dans un texte narratif",
    ),
    ("the narrative is not well-formed XML: {a}", "le texte narratif n'est pas du XML bien formé : {a}"),
    ("the narrative holds half of a surrogate pair", "le texte narratif contient une moitié de paire de substitution"),
    ("a narrative must have text or an image", "un texte narratif a du texte ou une image"),
    ("a narrative must be one `div` of the namespace {a}", "un texte narratif est un seul `div` de l'espace de noms {a}"),
    ("element {a} is not allowed in a narrative", "l'élément {a} n'est pas admis dans un texte narratif"),
    ("attribute {a} is not allowed in a narrative", "l'attribut {a} n'est pas admis dans un texte narratif"),
    ("elements are nested more than {a} deep", "les éléments sont imbriqués sur plus de {a} niveaux"),
    (
        "a comment with `<`, `>` or dashes at its end is not allowed in a narrative",
        "un commentaire avec `<`, `>` ou des tirets à la fin n'est pas admis dans un texte narratif",
    ),
    ("{a} of {b} must be a relative address or one of {c}", "{a} de {b} doit être une adresse relative ou l'un de {c}"),
    (
        "a style must not load or run anything: no url, import, expression, escape or comment",
        "un style ne doit rien charger ni exécuter : ni url, import, expression, échappement ou commentaire",
    ),
    (
        "an image of a narrative is in the resource or its data, not at {a}",
        "une image d'un texte narratif est dans la ressource ou ses données, pas à {a}",
    ),
)
PARTS: tuple[tuple[str, str], ...] = (
    ("an empty string", "une chaîne vide"),
    ("an object", "un objet"),
    ("the string {a}", "la chaîne {a}"),
    ("the value {a}", "la valeur {a}"),
    ("a JSON string", "une chaîne JSON"),
    ("a whole JSON number", "un nombre JSON entier"),
    ("true or false, without quotes", "true ou false, sans guillemets"),
    ("true or false", "true ou false"),
    ("a JSON object", "un objet JSON"),
    ("a JSON number, without quotes", "un nombre JSON, sans guillemets"),
    ("a JSON number", "un nombre JSON"),
    ("base64 in groups of four characters, padded with `=`", "du base64 par groupes de quatre caractères, complété par `=`"),
    ("a URL without spaces, optionally with `|version`", "une URL sans espaces, avec `|version` au besoin"),
    (
        "a code without spaces at its ends and only single spaces inside",
        "un code sans espaces aux extrémités, ni espaces doubles à l'intérieur",
    ),
    ("a date that exists, as YYYY, YYYY-MM or YYYY-MM-DD", "une date qui existe, en AAAA, AAAA-MM ou AAAA-MM-JJ"),
    (
        "a date that exists, as YYYY, YYYY-MM, YYYY-MM-DD or with time, seconds and zone: YYYY-MM-DDThh:mm:ss+zz:zz",
        "une date qui existe, en AAAA, AAAA-MM, AAAA-MM-JJ ou avec heure, secondes et fuseau : AAAA-MM-JJThh:mm:ss+zz:zz",
    ),
    ("1 to 64 letters, digits, `-` or `.`", "1 à 64 lettres, chiffres, `-` ou `.`"),
    (
        "a date that exists with time, seconds and zone: YYYY-MM-DDThh:mm:ss+zz:zz",
        "une date qui existe, avec heure, secondes et fuseau : AAAA-MM-JJThh:mm:ss+zz:zz",
    ),
    (
        "a whole JSON number of 32 bits, without quotes or fraction",
        "un nombre JSON entier de 32 bits, sans guillemets ni fraction",
    ),
    (
        "a whole JSON number from {a} to 2147483647, without quotes or fraction",
        "un nombre JSON entier de {a} à 2147483647, sans guillemets ni fraction",
    ),
    (
        "text that is not empty, at most 1 MB, without control characters",
        "un texte non vide, d'au plus 1 Mo, sans caractères de contrôle",
    ),
    ("urn:oid: and digits separated by dots", "urn:oid: et des chiffres séparés par des points"),
    ("a time of day with seconds and without zone: hh:mm:ss", "une heure avec secondes et sans fuseau : hh:mm:ss"),
    ("a URI, not empty and without spaces", "un URI, non vide et sans espaces"),
    ("a URL, not empty and without spaces", "une URL, non vide et sans espaces"),
    ("urn:uuid: and a UUID in lower case", "urn:uuid: et un UUID en minuscules"),
    ("{a} and {b} others", "{a} et {b} autres"),
    ("an entity is not defined; write the character itself", "une entité n'est pas définie ; écrire le caractère lui-même"),
    ("an element is not closed", "un élément n'est pas fermé"),
    ("an element is not closed, or there is none", "un élément n'est pas fermé, ou il n'y en a pas"),
    ("a tag or a comment is not closed", "une balise ou un commentaire n'est pas fermé"),
    ("there is something after the `div`", "il y a quelque chose après le `div`"),
    ("an attribute is written twice", "un attribut est écrit deux fois"),
    ("a namespace prefix is not defined", "un préfixe d'espace de noms n'est pas défini"),
)
_HOLE = re.compile(r"\\\{([abc])\\\}")


def in_french(issue: Issue) -> Issue:
    """The same issue in French, as it is when its words are in French already or are not known.

    >>> in_french(Issue("error", "required", "`status` is required here; add it", "Observation.status")).diagnostics
    '`status` est exigé ici ; à ajouter'
    """
    said = _said(issue.diagnostics, SENTENCES)
    return issue if said is None else issue._replace(diagnostics=said)


def _said(text: str, table: tuple[tuple[str, str], ...]) -> str | None:
    for pattern, french in _compiled(table):
        if found := pattern.fullmatch(text):
            return french.format(**{name: _part(words) for name, words in found.groupdict().items()})
    return None


def _part(text: str) -> str:
    # User input stands in backticks and is left alone.
    return text if text.startswith("`") and text.count("`") == 2 else _said(text, PARTS) or text


@cache
def _compiled(table: tuple[tuple[str, str], ...]) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(_HOLE.sub(r"(?P<\1>.+?)", re.escape(english)), re.DOTALL), french) for english, french in table)
