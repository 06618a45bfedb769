"""A decision in plain words, French and English, for the holder, the professional and the lawyer.

Code de la santé publique L1111-19 (the holder knows who has access and why)
"""

from fhir_dmp.consent.decide import Decision

# rule -> (French, English)
WORDS: dict[str, tuple[str, str]] = {
    # who may not ask
    "no-dossier": ("Aucun dossier ne répond à cette demande.", "No dossier answers this request."),
    "staff-without-ticket": (
        "Le support et l'hébergeur n'accèdent pas aux données de santé.",
        "Support and host staff have no access to health data.",
    ),
    "insurer-or-employer": (
        "Aucun accès n'est possible pour un assureur ou un employeur, même avec accord.",
        "Insurers and employers have no access, not even with consent.",
    ),
    "professional-not-identified": ("Le professionnel n'est pas identifié.", "The professional is not identified."),
    "structure-not-identified": (
        "La structure que dit le jeton n'est le numéro d'aucune.",
        "The structure that the token says is the number of none.",
    ),
    "purpose-is-not-care": ("La finalité annoncée n'est pas le soin.", "The purpose claimed is not care."),
    "holder-deceased": ("Le titulaire est décédé.", "The holder is deceased."),
    "dossier-closed": ("Le dossier est fermé.", "The dossier is closed."),
    "rights-lost": (
        "Le titulaire n'est plus assuré : le dossier est conservé, en lecture pour lui seul.",
        "The holder is no longer insured: the dossier is kept, readable by the holder's side only.",
    ),
    "regulation-opposed": ("Le titulaire s'oppose à l'accès du SAMU.", "The holder opposes access by emergency regulation."),
    "break-glass-opposed": ("Le titulaire s'oppose au bris de glace.", "The holder opposes break-glass access."),
    "blocked": ("Le titulaire a bloqué ce professionnel.", "The holder blocked this professional."),
    "structure-blocked": ("Le titulaire a bloqué cette structure.", "The holder blocked this structure."),
    "deposit-only": ("Un certificat de structure dépose, il ne lit pas.", "A certificate deposits, it does not read."),
    "mandataire-reads-nothing": (
        "Un mandataire gère les droits d'accès, il ne lit pas le dossier.",
        "A mandataire manages access rights and reads nothing.",
    ),
    "not-the-holder": ("Ce dossier est celui d'une autre personne.", "This dossier is somebody else's."),
    "professional-beside-is-blocked": (
        "Le professionnel qui accompagne le mineur est bloqué.",
        "The professional beside the minor is blocked.",
    ),
    "minor-alone": ("Un mineur consulte avec un professionnel.", "A minor reads together with a professional."),
    "no-valid-title": (
        "Le titre de parent ou de tuteur n'est pas valable à cet instant.",
        "The title of parent or guardian is not valid at this instant.",
    ),
    "hides-from-himself": (
        "Un représentant légal ne cache rien aux représentants légaux.",
        "A legal representative hides nothing from legal representatives.",
    ),
    "only-a-minor-hides-from-representatives": (
        "Seul un mineur cache un document à ses représentants légaux.",
        "Only a minor hides a document from legal representatives.",
    ),
    "unrelated": (
        "Aucune relation de soin, aucun accord, aucun accès d'urgence.",
        "No care relationship, no consent, no emergency access.",
    ),
    # what stays hidden
    "withdrawn": ("Le document a été retiré par son auteur.", "The document was withdrawn by its author."),
    "only-own-documents": (
        "Un auteur sans autre relation ne voit que ses documents.",
        "An author with no other relation sees only his own.",
    ),
    "habilitation": (
        "La matrice d'habilitation n'ouvre pas ce type à cette profession.",
        "The matrix does not open this type to this profession.",
    ),
    "reimbursement-not-shown": (
        "Le titulaire n'a pas permis d'afficher ses remboursements.",
        "The holder does not permit the display of reimbursements.",
    ),
    "reimbursement-past": (
        "L'historique montré aux professionnels ne remonte pas au-delà de 24 mois.",
        "The history shown to professionals goes back 24 months and no further.",
    ),
    "personal-space-and-occupational-medicine": (
        "L'espace personnel n'est pas ouvert à la médecine du travail.",
        "The personal space is not open to occupational medicine.",
    ),
    "personal-space-in-emergency": (
        "En urgence, l'espace personnel se limite aux personnes à prévenir et aux directives anticipées.",
        "In an emergency the personal space is limited to persons to warn and advance directives.",
    ),
    "masked": ("Le document est masqué aux professionnels.", "The document is masked from professionals."),
    "masked-by-rule": ("Une règle de masquage du titulaire couvre ce document.", "A masking rule of the holder covers this document."),
    "hidden-from-patient": (
        "Le document attend son annonce au titulaire, un mois au plus.",
        "The document waits for its announcement to the holder, one month at most.",
    ),
    "hidden-from-representatives": (
        "Le document n'est pas visible par les représentants légaux.",
        "The document is not visible to legal representatives.",
    ),
    # why it is permitted
    "author": ("Il est l'auteur du document.", "Author of the document."),
    "medecin-traitant": ("Il est le médecin traitant déclaré.", "Declared médecin traitant."),
    "assimilated": ("Le titulaire lui a donné les droits du médecin traitant.", "Given the médecin traitant's rights by the holder."),
    "care-team": ("Il est membre de l'équipe de soins.", "Member of the care team."),
    "consent": ("Le titulaire l'a autorisé.", "Authorised by the holder."),
    "regulation": ("Il régule un appel d'urgence.", "Regulating an emergency call."),
    "break-glass": ("Accès en bris de glace.", "Break-glass access."),
    "holder": ("Il est le titulaire.", "The holder."),
    "minor-with-professional": (
        "Le titulaire mineur est accompagné d'un professionnel.",
        "The minor holder, together with a professional.",
    ),
    "representative": ("Il est parent ou tuteur du titulaire.", "Parent or guardian of the holder."),
    "host-physician": ("Médecin de l'hébergeur, sous ticket.", "The host's physician, under a ticket."),
    "gestionnaire": ("Il est gestionnaire du dossier.", "Gestionnaire of the dossier."),
    "mandataire": ("Il est mandataire en cours de mandat.", "Mandataire within his mandate."),
    "host": ("L'hébergeur agit dans son rôle.", "The host acts within its role."),
    "feed": ("Flux de l'Assurance Maladie.", "Feed of the Assurance Maladie."),
    "opening": ("Un dossier peut être ouvert.", "A dossier may be opened."),
    "opener": ("Il a ouvert le dossier il y a moins de 24 heures.", "He opened the dossier less than 24 hours ago."),
    "himself": ("Il demande pour lui-même.", "He asks about himself."),
    "own-traces": ("Ses propres traces.", "His own traces."),
    "professional": ("Un professionnel alimente le dossier.", "A professional feeds the dossier."),
    "structure": ("Une structure alimente le dossier.", "A structure feeds the dossier."),
    "holder-writes": ("L'espace personnel s'écrit par le gestionnaire.", "The gestionnaire writes the personal space."),
    "supersedes-what-he-sees": ("Il remplace un document qu'il voit.", "He supersedes a document he sees."),
    "depositing-structure": ("La structure remplace son propre dépôt.", "The structure replaces its own deposit."),
    "lists-what-he-sees": ("Il range dans une liste ce qu'il voit.", "He puts into a List what he sees."),
    "announces-what-he-sees": ("Il annonce un document qu'il voit.", "He announces a document he sees."),
    "secret-session": ("Connexion secrète d'un mineur.", "Secret session of a minor."),
    "attested-consent": ("L'accord du titulaire est attesté.", "The holder's consent is attested."),
    # why an act is refused
    "mandataire-serves-himself": (
        "Un mandataire ne s'autorise ni lui-même ni son employeur.",
        "A mandataire authorises neither himself nor his employer.",
    ),
    "medecin-traitant-is-changed-not-blocked": (
        "Le médecin traitant se change, il ne se bloque pas.",
        "The médecin traitant is changed, not blocked.",
    ),
    "blocked-professional-not-declared": (
        "Un professionnel bloqué ne peut être déclaré médecin traitant.",
        "A blocked professional cannot be declared médecin traitant.",
    ),
    "never-adds-himself": ("Nul ne s'ajoute à l'équipe de soins.", "Nobody adds himself to the care team."),
    "already-open": ("Un dossier existe déjà.", "A dossier exists already."),
    "not-in-this-state": ("L'état du dossier ne le permet pas.", "The state of the dossier does not allow it."),
    "not-writable": ("La matrice n'ouvre pas ce type en écriture.", "The matrix does not open this type for writing."),
    "never-by-certificate": ("Un certificat seul ne dépose pas ce type.", "A certificate alone does not deposit this type."),
    "only-professionals-hide-from-patient": ("Seul un professionnel diffère l'annonce.", "Only a professional defers an announcement."),
    "no-import-without-permit": ("Le titulaire n'a pas permis cette alimentation.", "The holder does not permit this feed."),
    "only-the-author-withdraws": ("Seul l'auteur retire un document.", "Only the author withdraws a document."),
    "only-a-physician-breaks-the-glass": ("Le bris de glace est réservé aux médecins.", "Only physicians break the glass."),
    "already-authorised": ("Il a déjà accès.", "He has access already."),
    "justification-missing": ("Le bris de glace se justifie.", "Breaking the glass needs a justification."),
    "only-for-himself": ("Un professionnel n'autorise que lui-même.", "A professional authorises himself alone."),
    "consent-not-attested": ("L'accord du titulaire doit être attesté.", "The holder's consent must be attested."),
    # consents and traces
    "masks-are-the-holders": ("Les masquages ne sont connus que du titulaire.", "Masks are known to the holder's side alone."),
    "mandataire-manages-access-alone": ("Un mandataire ne voit que les droits d'accès.", "A mandataire sees access rights alone."),
    "names-others": ("Ce consentement nomme une autre personne.", "This Consent names somebody else."),
    "names-him": ("Ce consentement le nomme.", "This Consent names him."),
    "addressed-to-others": ("Avis adressé à une autre personne.", "Notice to somebody else."),
    "addressed-to-him": ("Cet avis lui est adressé.", "This notice is addressed to him."),
    "traces-of-others": ("Trace d'une autre personne.", "Somebody else's trace."),
    "nothing-permits": ("Aucune règle ne le permet.", "No rule permits it."),
    "rule-cannot-be-evaluated": ("Une règle n'a pu être évaluée : refus.", "A rule could not be evaluated: refused."),
}

EFFECTS = {"permit": ("Permis", "Permitted"), "hide": ("Caché", "Hidden"), "refuse": ("Refusé", "Refused")}


def text(decision: Decision, language: str = "fr") -> str:
    """A decision in one line. language: fr or en.

    >>> text(Decision("hide", "masked"), "en")
    'Hidden: The document is masked from professionals.'
    """
    index = 1 if language == "en" else 0
    return f"{EFFECTS[decision.effect][index]}{' :' if index == 0 else ':'} {WORDS[decision.rule][index]}"
