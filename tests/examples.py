"""The literal examples of AKOOL's pages."""

CREATE_BY_BUTTON_REPLY = {
    "code": 1000,
    "msg": "OK",
    "data": {
        "faceswap_quality": 2,
        "deduction_credit": 2,
        "buttons": [],
        "used_buttons": [],
        "upscaled_urls": [],
        "_id": "6508292f16e5ba407d47d21b",
        "image_content_model_id": "6508288416e5ba407d47d13f",
        "create_time": 1695033647012,
        "op_button": "U2",
        "op_buttonMessageId": "kwZsk6elltno5Nt37VLj",
        "image_status": 1,
        "from": 1,
    },
}

GET_IMAGE_RESULT_REPLY = {
    "code": 1000,
    "msg": "OK",
    "data": {
        "faceswap_quality": 2,
        "deduction_credit": 2,
        "buttons": ["U1", "U2", "U3", "U4", "V1", "V2", "V3", "V4"],
        "used_buttons": [],
        "upscaled_urls": [],
        "_id": "662a10df4197b3af58532e89",
        "create_time": 1714032863272,
        "uid": 378337,
        "type": 3,
        "image_status": 3,
        "image": "https://example.invalid/1714032892336-e0ec9305-e217-4b79-8704-e595a822c12b-8013.png",
    },
}

CREATE_BY_PROMPT_REPLY = {
    "code": 1000,
    "msg": "OK",
    "data": {
        "faceswap_quality": 2,
        "deduction_credit": 2,
        "buttons": [],
        "used_buttons": [],
        "upscaled_urls": [],
        "_id": "64dd82eef0b6684651e90131",
        "uid": 378337,
        "create_time": 1692238574633,
        "origin_prompt": "***",
        "source_image": "https://example.invalid/a.png",
        "prompt": "***",
        "type": 4,
        "from": 1,
        "image_status": 1,
    },
}
