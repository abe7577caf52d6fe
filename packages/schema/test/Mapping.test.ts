import { readFileSync } from "node:fs"
import { kinds, normaliseTypeKey, type SqlType } from "@mallard/schema"
import { assert, describe, it } from "vitest"

interface MappedColumn {
  readonly name: string
  readonly type: SqlType
  readonly paths: ReadonlyArray<string>
  readonly context?: ReadonlyArray<string>
  readonly decode?: Readonly<Record<string, string>>
}

interface MappedKind {
  readonly table: string
  readonly id: string
  readonly aliases: ReadonlyArray<string>
  readonly idPaths: ReadonlyArray<string>
  readonly columns: ReadonlyArray<MappedColumn>
  readonly extraColumns?: ReadonlyArray<MappedColumn>
  readonly children?: Readonly<Record<string, string>>
}

const mapping: Readonly<Record<string, MappedKind>> = JSON.parse(
  readFileSync(new URL("../../../../shared/facts/entity-mappings.json", import.meta.url), "utf8")
)

const provenance = new Set(["source_type", "source_system", "skill_used", "generation_seed", "created_at"])

/** What the kinds declare beyond the mapping, and nothing else: mostly the forms of FHIR and SDTM. */
const added = {
  paths: {
    "patient.mrn": ["identifier[0].value"],
    "patient.race": [
      "extension[url=http://hl7.org/fhir/us/core/StructureDefinition/us-core-race].extension[url=text].valueString"
    ],
    "patient.ethnicity": [
      "extension[url=http://hl7.org/fhir/us/core/StructureDefinition/us-core-ethnicity].extension[url=text].valueString"
    ],
    "patient.language": ["communication[0].language.coding[0].code"],
    "patient.marital_status": ["maritalStatus.text", "maritalStatus.coding[0].code"],
    "encounter.facility": ["location[0].location.display", "serviceProvider.display"],
    "encounter.chief_complaint": ["reasonCode[0].coding[0].display"],
    "encounter.discharge_disposition": ["hospitalization.dischargeDisposition.coding[0].code"],
    "encounter.attending_physician": ["participant[0].individual.display", "participant[0].individual.reference"],
    "encounter.encounter_type": ["type[0].text", "type[0].coding[0].display", "type[0].coding[0].code"],
    "diagnosis.description": ["MHTERM", "MHDECOD"],
    "diagnosis.diagnosed_date": ["onsetPeriod.start", "recordedDate", "MHSTDTC"],
    "diagnosis.resolved_date": ["abatementPeriod.end", "MHENDTC"],
    "diagnosis.sequence": ["MHSEQ"],
    "diagnosis.status": ["clinicalStatus.coding[0].code"],
    "procedure.code_system": ["code.coding[0].system"],
    "procedure.description": ["code.coding[0].display"],
    "procedure.performed_date": ["performedPeriod.start", "occurrenceDateTime"],
    "procedure.performer": ["performer[0].actor.display", "performer[0].actor.reference"],
    "procedure.location": ["location.display", "bodySite[0].text", "bodySite[0].coding[0].display"],
    "medication.name": ["medicationCodeableConcept.coding[0].display", "medicationReference.display", "CMTRT"],
    "medication.code": ["medicationCodeableConcept.coding[0].code"],
    "medication.dose": ["dosageInstruction[0].doseAndRate[0].doseQuantity.value", "CMDOSE"],
    "medication.route": ["dosageInstruction[0].route.text", "dosageInstruction[0].route.coding[0].display", "CMROUTE"],
    "medication.frequency": ["dosageInstruction[0].timing.code.text", "CMDOSFRQ"],
    "medication.start_date": ["effectiveDateTime", "effectivePeriod.start", "CMSTDTC"],
    "medication.end_date": ["effectivePeriod.end", "CMENDTC"],
    "medication.prescriber": ["requester.display", "requester.reference"],
    "medication.indication": ["reasonCode[0].text", "reasonCode[0].coding[0].code", "CMINDC"],
    "medication.rxnorm": ["medicationCodeableConcept.coding[system=http://www.nlm.nih.gov/research/umls/rxnorm].code"],
    "medication.ndc": ["medicationCodeableConcept.coding[system=http://hl7.org/fhir/sid/ndc].code"],
    "medication.quantity": ["dispenseRequest.quantity.value"],
    "medication.days_supply": ["dispenseRequest.expectedSupplyDuration.value"],
    "medication.refills": ["dispenseRequest.numberOfRepeatsAllowed"],
    "medication.instructions": ["dosageInstruction[0].text"],
    "lab_result.test_name": ["code.coding[0].display", "LBTEST"],
    "lab_result.loinc_code": ["LBLOINC", "LBTESTCD"],
    "lab_result.value": [
      "valueCodeableConcept.text",
      "valueCodeableConcept.coding[0].display",
      "valueInteger",
      "valueBoolean",
      "LBORRES",
      "LBSTRESC"
    ],
    "lab_result.unit": ["LBORRESU", "LBSTRESU"],
    "lab_result.reference_range": ["referenceRange[0].text"],
    "lab_result.abnormal_flag": ["interpretation[0].coding[0].code", "interpretation[0].text", "LBNRIND"],
    "lab_result.collected_time": ["effectivePeriod.start", "LBDTC"],
    "lab_result.performing_lab": ["performer[0].display", "LBNAM"],
    "vital_sign.observation_time": ["effectiveDateTime", "effectivePeriod.start", "VSDTC"],
    "vital_sign.vital_type": ["code.text", "code.coding[0].display", "VSTEST", "VSTESTCD"],
    "vital_sign.loinc_code": ["code.coding[0].code"],
    "vital_sign.value": ["valueQuantity.value", "valueString", "VSORRES", "VSSTRESC"],
    "vital_sign.unit": ["valueQuantity.unit", "VSORRESU", "VSSTRESU"],
    "vital_sign.position": ["VSPOS"],
    "order.code": ["code.coding[0].code"],
    "order.code_system": ["code.coding[0].system"],
    "order.description": ["code.text", "code.coding[0].display"],
    "order.ordered_datetime": ["authoredOn"],
    "order.scheduled_datetime": ["occurrenceDateTime"],
    "order.ordering_provider_name": ["requester.display"],
    "order.clinical_indication": ["reasonCode[0].text"],
    "allergy.patient_mrn": ["patient.reference"],
    "allergy.allergen": ["code.text", "code.coding[0].display"],
    "allergy.reaction": ["reaction[0].manifestation[0].text", "reaction[0].manifestation[0].coding[0].display"],
    "allergy.severity": ["reaction[0].severity", "criticality"],
    "claim.claim_id": ["identifier[0].value"],
    "claim.claim_type": ["type.coding[0].code", "type.text"],
    "claim.provider_npi": ["provider.identifier.value"],
    "claim.service_date": ["billablePeriod.start"],
    "claim.principal_diagnosis": ["diagnosis[0].diagnosisCodeableConcept.coding[0].code"],
    "claim.authorization_number": ["insurance[0].preAuthRef[0]"],
    "claim.total_charge": ["total.value"],
    "claim.encounter_id": ["item[0].encounter[0].reference"],
    "provider.npi": ["identifier[system=http://hl7.org/fhir/sid/us-npi].value"],
    "provider.name": ["name[0].text", "name[0].family"],
    "provider.specialty": ["qualification[0].code.text"],
    "facility.facility_type": ["type[0].text", "type[0].coding[0].display"],
    "facility.street_address": ["address.line[0]"],
    "facility.postal_code": ["address.postalCode"],
    "trial_visit.protocol_id": ["STUDYID"],
    "exposure.id": ["EXSPID"],
    "diagnosis.patient_mrn": ["USUBJID"],
    "medication.patient_mrn": ["USUBJID"],
    "lab_result.patient_mrn": ["USUBJID"],
    "vital_sign.patient_mrn": ["USUBJID"]
  },
  children: {
    patient: {
      encounters: "encounter",
      encounter: "encounter",
      diagnoses: "diagnosis",
      medications: "medication",
      vitals: "vital_sign"
    },
    encounter: { procedure: "procedure" }
  },
  containers: {
    diagnosis: ["discharge.discharge_diagnoses"],
    procedure: ["ed_treatment.procedures", "discharge.procedures_performed"],
    medication: ["ed_treatment.medications_administered", "discharge.discharge_medications"],
    lab_result: ["labs.initial_labs", "labs.troponin_series", "labs.results", "preoperative_workup.labs.results"]
  },
  requires: {
    member: [{ typeKeys: ["coverage", "coverages", "enrollment", "enrollments"], oneOf: ["member_id", "memberId"] }]
  }
}

const of = <A>(record: Readonly<Record<string, A>>, key: string): A | undefined => record[key]

it("declares the mapped kinds in the mapping's order, with codes from 1", () => {
  assert.deepStrictEqual(
    kinds.map(({ code, kind }) => [code, kind]),
    Object.keys(mapping).map((kind, index) => [index + 1, kind])
  )
})

describe.each(Object.entries(mapping))("%s", (name, mapped) => {
  const kind = kinds.find((kind) => kind.kind === name)
  if (kind === undefined) throw new Error(`${name} is not declared`)

  it("has the mapped table and id", () => {
    assert.strictEqual(kind.table, mapped.table)
    assert.strictEqual(kind.idColumn, mapped.id)
    assert.deepStrictEqual(kind.idPaths, mapped.idPaths)
  })

  it("has the mapped type keys", () => {
    assert.deepStrictEqual([...kind.typeKeys].sort(), [...new Set(mapped.aliases.map(normaliseTypeKey))].sort())
  })

  it("has the mapped columns, then those seen in documents, then the provenance, each with its paths in order", () => {
    const columns = [
      ...mapped.columns.filter(({ name }) => !provenance.has(name)),
      ...(mapped.extraColumns ?? []),
      ...mapped.columns.filter(({ name }) => provenance.has(name))
    ]
    assert.deepStrictEqual(
      kind.columns.map(({ name, type, paths, context, decode }) => ({ name, type, paths, context, decode })),
      columns.map(({ name: column, type, paths, context, decode }) => ({
        name: column,
        type,
        paths: [...paths, ...(of(added.paths, `${name}.${column}`) ?? [])],
        context: context ?? [],
        decode
      }))
    )
  })

  it("has the mapped children and the added ones", () => {
    assert.deepStrictEqual(
      kind.children,
      Object.entries({ ...mapped.children, ...of<Readonly<Record<string, string>>>(added.children, name) }).map(
        ([path, child]) => ({ path, kind: child })
      )
    )
  })

  it("has the added containers and requirements", () => {
    assert.deepStrictEqual(kind.containers, of(added.containers, name) ?? [])
    assert.deepStrictEqual(kind.requires, of(added.requires, name) ?? [])
  })
})
