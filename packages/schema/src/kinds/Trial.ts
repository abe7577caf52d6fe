/** The kinds of a clinical trial. */

import { boolean, date, decimal, double, integer, json, kind, text } from "../Declare.ts"
import { birthDate, familyName, gender, givenName, ssn } from "./Shared.ts"

/** A participant of a trial; often without name and birth date. */
export const subject = kind("subject", {
  code: 15,
  table: "subjects",
  id: { column: "id", paths: ["id", "usubjid", "subject_id"] },
  alsoKnownAs: ["participant", "participants", "trial_subject", "trial_subjects"],
  columns: {
    id: text("id", "subject_id"),
    subject_id: text("subject_id", "subject_number", "SUBJID", "id"),
    usubjid: text("usubjid", "USUBJID").describe("Unique subject identifier (SDTM)."),
    study_id: text("study_id", "protocol_id", "studyid", "STUDYID").context("$doc.study.study_id"),
    site_id: text("site_id", "SITEID", "site"),
    patient_ref: text("patient_ref", "patient_id"),
    ssn,
    given_name: givenName,
    family_name: familyName,
    birth_date: birthDate,
    gender,
    race: text("race", "demographics.race", "RACE"),
    ethnicity: text("ethnicity", "demographics.ethnicity", "ETHNIC"),
    screening_id: text("screening_id"),
    screening_date: date("screening_date"),
    informed_consent_date: date("informed_consent_date", "consent_date", "enrollment.consent_date", "RFICDTC"),
    randomization_date: date(
      "randomization_date",
      "randomized_date",
      "randomization.date",
      "enrollment.randomization_date"
    ),
    treatment_arm: text(
      "treatment_arm",
      "arm",
      "arm_code",
      "randomization.arm",
      "enrollment.randomization_arm",
      "arm_name",
      "ARMCD",
      "ARM"
    ).describe("Code or name of the arm."),
    status: text("status", "end_of_study_status"),
    // Seen in documents; HealthSim has no column for them.
    randomization_id: text("randomization_id"),
    cohort: text("cohort"),
    age: integer("age", "demographics.age", "AGE"),
    first_dose_date: date("first_dose_date", "RFSTDTC").describe("Start of the reference period (SDTM RFSTDTC)."),
    last_dose_date: date("last_dose_date", "RFENDTC").describe("End of the reference period (SDTM RFENDTC)."),
    country: text("COUNTRY", "demographics.country").describe("Country of the investigational site (SDTM COUNTRY).")
  }
})

/** A visit of a subject, planned or made. */
export const trialVisit = kind("trial_visit", {
  code: 16,
  table: "trial_visits",
  id: { column: "id", paths: ["id", "visit_id", "actual_visit_id", "usubjid+visit_num"] },
  alsoKnownAs: ["actual_visit", "actual_visits"],
  columns: {
    id: text("id", "visit_id", "actual_visit_id"),
    usubjid: text("usubjid", "subject_id", "USUBJID").describe("Unique subject identifier (SDTM)."),
    visit_num: decimal(5, 1)("visit_num", "visit_number", "VISITNUM", "visitnum").describe(
      "Number of the visit; unscheduled ones have decimals."
    ),
    visit_name: text("visit_name", "VISIT", "visit"),
    visit_date: date("visit_date", "actual_date", "planned_date", "SVSTDTC"),
    study_day: integer("study_day", "visit_day", "VISITDY", "SVSTDY").describe("Day relative to the first dose."),
    visit_status: text("visit_status"),
    window_deviation_days: integer("window_deviation_days"),
    // Seen in documents; HealthSim has no column for them.
    visit_type: text("visit_type"),
    planned_date: date("planned_date"),
    protocol_id: text("protocol_id").or("STUDYID"),
    site_id: text("site_id"),
    assessments: json("assessments")
  }
})

/** An adverse event; columns are named as in SDTM. */
export const adverseEvent = kind("adverse_event", {
  code: 17,
  table: "adverse_events",
  id: { column: "id", paths: ["id", "ae_id", "event_id", "usubjid+aeseq"] },
  alsoKnownAs: ["ae", "aes", "side_effect", "side_effects"],
  columns: {
    id: text("id", "ae_id", "event_id", "AESPID"),
    usubjid: text("usubjid", "subject_id", "USUBJID").describe("Unique subject identifier (SDTM)."),
    aeseq: integer("aeseq", "sequence", "ae_sequence", "AESEQ").describe("Number of the event within the subject."),
    aeterm: text("aeterm", "ae_term", "term", "reported_term", "description", "AETERM").describe(
      "The event as it was reported."
    ),
    aedecod: text("aedecod", "preferred_term", "meddra_pt", "AEDECOD").describe("Preferred term of the dictionary."),
    aebodsys: text("aebodsys", "body_system", "system_organ_class", "meddra_soc", "AEBODSYS").describe(
      "Body system or organ class."
    ),
    aestdtc: date("aestdtc", "start_date", "onset_date", "AESTDTC").describe("Start of the event."),
    aeendtc: date("aeendtc", "end_date", "resolution_date", "AEENDTC").describe("End of the event."),
    aesev: text("aesev", "severity", "ae_severity", "AESEV").describe("Severity."),
    aetoxgr: text("aetoxgr", "toxicity_grade", "ctcae_grade", "AETOXGR").describe("Toxicity grade."),
    aeser: text("aeser", "serious", "is_serious", "AESER").describe("Whether the event was serious."),
    aerel: text("aerel", "relationship", "causality", "AEREL").describe("Relationship to the treatment."),
    aeacn: text("aeacn", "action_taken", "AEACN").describe("Action taken with the treatment."),
    aeout: text("aeout", "outcome", "AEOUT").describe("Outcome."),
    // Seen in documents; HealthSim has no column for them.
    protocol_id: text("protocol_id", "STUDYID"),
    ae_description: text("ae_description"),
    duration_days: integer("duration_days"),
    treatment_required: boolean("treatment_required")
  }
})

/** A dose or a period of treatment; columns are named as in SDTM. */
export const exposure = kind("exposure", {
  code: 18,
  table: "exposures",
  id: { column: "id", paths: ["id", "exposure_id", "usubjid+exseq"] },
  columns: {
    id: text("id", "exposure_id").or("EXSPID"),
    usubjid: text("usubjid", "subject_id", "USUBJID").describe("Unique subject identifier (SDTM)."),
    exseq: integer("exseq", "EXSEQ").describe("Number of the exposure within the subject."),
    extrt: text("extrt", "drug_name", "EXTRT").describe("Name of the treatment."),
    exdose: decimal(12, 4)("exdose", "dose", "EXDOSE").describe("Dose."),
    exdosu: text("exdosu", "dose_unit", "EXDOSU").describe("Unit of the dose."),
    exdosfrq: text("exdosfrq", "EXDOSFRQ").describe("Frequency of dosing."),
    exroute: text("exroute", "route", "EXROUTE").describe("Route of administration."),
    exstdtc: date("exstdtc", "start_date", "EXSTDTC").describe("Start of the treatment."),
    exendtc: date("exendtc", "end_date", "EXENDTC").describe("End of the treatment."),
    exadj: text("exadj", "EXADJ").describe("Reason for an adjusted dose."),
    dose_modification: text("dose_modification"),
    // Seen in documents; HealthSim has no column for them.
    protocol_id: text("protocol_id", "STUDYID"),
    drug_code: text("drug_code"),
    doses_planned: integer("doses_planned"),
    doses_taken: integer("doses_taken"),
    compliance_pct: double("compliance_pct")
  }
})
